//! Real brokers on loopback, real clients: what a user would see.
//!
//! Owns: tests of the whole process by its own ports, signals and files. One broker is shared by all tests that leave it as they
//! found it; a test that kills, starves or cuts has a broker of its own.
//! Invariants: every broker is a process of its own in a folder of its own, and ends with the test; every wait is bounded.
//! Not here: anything that a unit test, a transcript or the simulator can show.
//!
//! Environment: `CHRONIK_TEST_SERVER` is the binary to test (default: the one cargo built). `CHRONIK_TEST_BOOTSTRAP=host:port` runs
//! the tests that need no process of ours against a broker that is already up, for instance Apache Kafka (whose partitions lie in
//! `CHRONIK_TEST_DATA_DIR`). With
//! `CHRONIK_TEST_CLIENTS=required` a missing foreign client fails a test, else it skips it with a word. With `CHRONIK_TEST_KEEP` a
//! test that fails leaves its brokers' folders.

mod clients;
mod cluster;
mod crash;
mod faults;
mod powercut;
mod support;
mod wire;
