//! Epochs, against a log that remembers every record.

#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;

fn cache(entries: &[(i32, i64)]) -> EpochCache {
    EpochCache::new(entries.iter().map(|(epoch, start)| (LeaderEpoch(*epoch), *start)))
}

fn end(cache: &EpochCache, epoch: i32) -> Option<(i32, i64)> {
    cache.end_offset_for(LeaderEpoch(epoch), 100).map(|(epoch, end)| (epoch.0, end))
}

#[test]
fn an_epoch_ends_where_the_next_begins_and_the_last_at_the_logs_end() {
    let cache = cache(&[(2, 0), (5, 30), (6, 70)]);
    assert_eq!(
        [2, 3, 4, 5, 6, 7].map(|epoch| end(&cache, epoch)),
        [Some((2, 30)), Some((2, 30)), Some((2, 30)), Some((5, 70)), Some((6, 100)), Some((6, 100)),]
    );
    assert_eq!(end(&cache, -1), None);
    assert_eq!(end(&EpochCache::default(), 3), None);
}

/// Whoever has read up to the log's start in an epoch that is deleted since must not be sent back (KIP-320).
#[test]
fn an_epoch_older_than_the_log_ends_where_the_log_begins() {
    let mut cache = cache(&[(2, 0), (5, 30)]);
    cache.truncate_from_start(40);
    assert_eq!(cache.entries(), [(LeaderEpoch(5), 40)]);
    assert_eq!(end(&cache, 2), Some((2, 40)));
}

/// KIP-279: leaders that wrote nothing leave no entry behind once another begins at the same offset.
#[test]
fn an_epoch_without_a_record_gives_way_to_the_next() {
    assert_eq!(cache(&[(1, 0), (2, 10), (3, 10)]).entries(), [(LeaderEpoch(1), 0), (LeaderEpoch(3), 10)]);
    assert_eq!(cache(&[(1, 0), (1, 10), (0, 20), (-1, 30)]).entries(), [(LeaderEpoch(1), 0)]);
}

#[test]
fn cutting_the_end_takes_the_epochs_that_began_there() {
    let mut cache = cache(&[(1, 0), (2, 10), (3, 20)]);
    cache.truncate_from_end(20);
    assert_eq!(cache.latest(), Some(LeaderEpoch(2)));
    cache.truncate_from_end(0);
    assert!(cache.entries().is_empty());
}

#[test]
fn the_checkpoint_has_the_bytes_of_kafkas() {
    let cache = cache(&[(0, 0), (3, 117)]);
    assert_eq!(cache.to_text(), "0\n2\n0 0\n3 117\n");
    assert_eq!(EpochCache::from_text(b"0\n2\n0 0\n3 117\n"), Ok(cache));
    assert_eq!(EpochCache::from_text(b""), Ok(EpochCache::default()));
}

#[test]
fn a_checkpoint_that_makes_no_sense_is_refused_with_its_line() {
    let refusal = |text: &str| EpochCache::from_text(text.as_bytes()).unwrap_err();
    assert_eq!(refusal("1\n0\n"), CheckpointError::Version);
    assert_eq!(refusal("0\n"), CheckpointError::Malformed(2));
    assert_eq!(refusal("0\n1\n1\n"), CheckpointError::Malformed(3));
    assert_eq!(refusal("0\n1\n-1 0\n"), CheckpointError::Malformed(3));
    assert_eq!(refusal("0\n1\n1 2 3\n"), CheckpointError::Malformed(3));
    assert_eq!(refusal("0\n2\n1 5\n2 5\n"), CheckpointError::NotRising(4));
    assert_eq!(refusal("0\n3\n1 5\n2 6\n"), CheckpointError::Count { expected: 3, found: 2 });
    assert_eq!(EpochCache::from_text(b"0\n\xff\n"), Err(CheckpointError::NotText));
    let whole = "0\n2\n0 0\n3 117\n";
    for cut in 1..whole.len() {
        assert!(EpochCache::from_text(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
}

proptest! {
    /// The cache against a log that knows of every record which epoch wrote it.
    #[test]
    fn it_agrees_with_a_log_that_remembers_every_record(
        steps in prop::collection::vec((0..4u8, 0..6i64, 1..4i32), 1..60),
    ) {
        let mut cache = EpochCache::default();
        let (mut start, mut epochs, mut epoch) = (0_i64, Vec::<i32>::new(), 0);
        for (step, number, up) in steps {
            let end = start + epochs.len() as i64;
            match step {
                0 => {
                    epoch += up;
                    cache.assign(LeaderEpoch(epoch), end);
                }
                1 if cache.latest().is_some() => epochs.extend(vec![epoch; number as usize]),
                2 => {
                    epochs.truncate(epochs.len() - (number as usize).min(epochs.len()));
                    cache.truncate_from_end(start + epochs.len() as i64);
                }
                3 => {
                    let gone = (number as usize).min(epochs.len());
                    epochs.drain(..gone);
                    start += gone as i64;
                    cache.truncate_from_start(start);
                }
                _ => {}
            }
            // A leader that goes on after a cut says its epoch again, as every append does.
            cache.assign(LeaderEpoch(epoch), start + epochs.len() as i64);
            let end = start + epochs.len() as i64;
            for (offset, wrote) in (start..).zip(&epochs) {
                prop_assert_eq!(cache.epoch_at(offset), Some(LeaderEpoch(*wrote)));
            }
            for asked in 0..=epoch {
                let last = epochs.iter().rposition(|wrote| *wrote <= asked);
                let expected_end = if asked >= epoch { end } else { last.map_or(start, |last| start + last as i64 + 1) };
                if let Some((found, found_end)) = cache.end_offset_for(LeaderEpoch(asked), end) {
                    prop_assert!(found.0 <= asked);
                    prop_assert_eq!(found_end, expected_end, "epoch {} of {:?}", asked, cache);
                }
            }
            prop_assert!(cache.entries().is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
            prop_assert_eq!(EpochCache::from_text(cache.to_text().as_bytes()), Ok(cache.clone()));
        }
    }
}
