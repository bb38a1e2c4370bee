//! Nothing acknowledged is lost: a value acknowledged at an offset (one node flushes before it acknowledges, with acks=1
//! too) is what is read there once nothing breaks any more, and two values are never acknowledged at one offset.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::one_value::{OneValue, shown};

/// Values by partition and offset.
#[derive(Default)]
pub struct Acknowledged(BTreeMap<(i32, i64), Vec<u8>>);

impl Acknowledged {
    /// Values are acknowledged from this offset on.
    pub fn on_acknowledged(&mut self, partition: i32, base_offset: i64, values: &[Vec<u8>]) -> Result<()> {
        ensure!(base_offset >= 0, "partition {partition}: acknowledged without an offset");
        for (offset, value) in (base_offset..).zip(values) {
            let known = self.0.entry((partition, offset)).or_insert_with(|| value.clone());
            let (known, value) = (shown(known), shown(value));
            ensure!(known == value, "partition {partition} offset {offset}: acknowledged for {known} and for {value}");
        }
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

    /// All of them are among what was read.
    pub fn check(&self, read: &OneValue) -> Result<()> {
        for (&(partition, offset), value) in &self.0 {
            let found = read.get(partition, offset);
            ensure!(
                found == Some(value),
                "partition {partition} offset {offset}: {} was acknowledged, {} is there",
                shown(value),
                found.map_or("nothing".into(), |found| shown(found))
            );
        }
        Ok(())
    }
}
