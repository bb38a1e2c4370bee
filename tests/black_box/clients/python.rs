//! The Python clients: confluent-kafka (librdkafka, newest release) and kafka-python (no C at all, a protocol codec of its own).

use crate::support::clients::python;
use crate::support::{fresh_name, shared};

#[test]
fn confluent_kafka_produces_reads_and_administers() {
    if let Some(said) = python("confluent.py", &[&shared::bootstrap(), &fresh_name("confluent")]) {
        assert!(said.ends_with("ok\n"), "{said}");
    }
}

#[test]
fn kafka_python_produces_and_reads() {
    if let Some(said) = python("kafka_python.py", &[&shared::bootstrap(), &fresh_name("kafka-python")]) {
        assert!(said.ends_with("ok\n"), "{said}");
    }
}
