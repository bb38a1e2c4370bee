//! chronik-log.
fn main() {}
