//! An idempotent producer writes no duplicate and no gap: its values stand in a partition in the order 0, 1, 2, each once.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::one_value::{OneValue, shown};

/// Values of idempotent producers are named `i<producer>-<number>`.
pub fn check(read: &OneValue) -> Result<()> {
    let mut next: BTreeMap<(i32, String), u64> = BTreeMap::new();
    for (&(partition, offset), value) in read.iter() {
        let name = shown(value);
        let Some((producer, number)) = name.split_once('-').filter(|_| name.starts_with('i')) else { continue };
        let due = next.entry((partition, producer.into())).or_default();
        ensure!(
            number.parse() == Ok(*due),
            "partition {partition} offset {offset}: {name} stands where {producer}-{due} is due"
        );
        *due += 1;
    }
    Ok(())
}
