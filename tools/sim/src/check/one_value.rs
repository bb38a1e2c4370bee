//! One value for each partition and offset, for ever: what a consumer was once given there, every consumer is given there.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

/// Values by partition and offset, as the first consumer saw them.
#[derive(Default)]
pub struct OneValue(BTreeMap<(i32, i64), Vec<u8>>);

impl OneValue {
    /// A consumer is given a value.
    pub fn on_seen(&mut self, partition: i32, offset: i64, value: &[u8]) -> Result<()> {
        let known = self.0.entry((partition, offset)).or_insert_with(|| value.to_vec());
        let same = known == value;
        ensure!(same, "partition {partition} offset {offset}: first {}, then {}", shown(known), shown(value));
        Ok(())
    }

    /// All of a partition, by offset.
    pub fn of(&self, partition: i32) -> impl Iterator<Item = (i64, &Vec<u8>)> {
        self.0.range((partition, i64::MIN)..=(partition, i64::MAX)).map(|((_, offset), value)| (*offset, value))
    }

    /// The first offset of a partition above all of them.
    pub fn end(&self, partition: i32) -> i64 {
        self.0.range((partition, i64::MIN)..=(partition, i64::MAX)).next_back().map_or(0, |((_, last), _)| last + 1)
    }

    /// What was seen there.
    pub fn get(&self, partition: i32, offset: i64) -> Option<&Vec<u8>> {
        self.0.get(&(partition, offset))
    }

    /// All, by partition and offset.
    pub fn iter(&self) -> impl Iterator<Item = (&(i32, i64), &Vec<u8>)> {
        self.0.iter()
    }
}

/// A value's name, without its filling.
pub fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == b' ').next().unwrap_or_default()).into_owned()
}
