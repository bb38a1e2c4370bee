//! chronik-bench.
fn main() {}
