//! What clients were told of is on disks: of as many replicas as had to be in sync, at any time; and in the end the replicas are
//! equal, byte for byte.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::one_value::shown;
use crate::replicas::ReplicaLog;

/// Everything told is in at least `copies_min` of the logs.
pub fn check_copies(
    partition: i32,
    told: &BTreeMap<i64, Vec<u8>>,
    logs: &[ReplicaLog],
    copies_min: usize,
) -> Result<()> {
    for (offset, value) in told {
        let copies = logs.iter().filter(|log| log.values.get(offset) == Some(value)).count();
        ensure!(
            copies >= copies_min,
            "partition {partition} offset {offset}: clients were told of {}, {copies} disks hold it: {:?}",
            shown(value),
            logs.iter().map(|log| log.values.get(offset).map(|value| shown(value))).collect::<Vec<_>>()
        );
    }
    Ok(())
}

/// All replicas are equal.
pub fn check_equal(partition: i32, logs: &[ReplicaLog]) -> Result<()> {
    let ends: Vec<i64> = logs.iter().map(|log| log.values.last_key_value().map_or(0, |(last, _)| last + 1)).collect();
    let shortest = logs.iter().map(|log| log.bytes.len()).min().unwrap_or(0);
    ensure!(
        logs.iter().all(|log| log.bytes[..shortest] == logs[0].bytes[..shortest]),
        "partition {partition}: the replicas differ; they end at {ends:?}"
    );
    ensure!(
        logs.iter().all(|log| log.bytes.len() == shortest),
        "partition {partition}: the replicas end at {ends:?}, though nothing breaks any more"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(values: &[&str]) -> ReplicaLog {
        let numbered = (0..).zip(values.iter().map(|value| value.as_bytes().to_vec()));
        ReplicaLog { bytes: values.concat().into_bytes(), values: numbered.collect() }
    }

    #[test]
    fn what_was_told_must_be_on_enough_disks_and_be_the_same() {
        let told = log(&["a", "b"]).values;
        let logs = [log(&["a", "b", "c"]), log(&["a", "b"]), log(&["a", "x"])];
        assert!(check_copies(0, &told, &logs, 2).is_ok());
        assert!(check_copies(0, &told, &logs, 3).is_err());
    }

    #[test]
    fn replicas_differ_or_are_behind() {
        let text = |logs: &[ReplicaLog]| check_equal(0, logs).map_err(|error| error.to_string());
        assert!(text(&[log(&["a"]), log(&["a"])]).is_ok());
        assert!(text(&[log(&["a"]), log(&["b"])]).is_err_and(|error| error.contains("differ")));
        assert!(text(&[log(&["a"]), log(&["a", "b"])]).is_err_and(|error| error.contains("end at [1, 2]")));
    }
}
