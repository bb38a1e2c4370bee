//! Which record was acknowledged at which offset, kept as runs.
//!
//! Invariants: within a run, offset and sequence both rise by one.
//! Why: a producer's acknowledgements are nearly consecutive, so millions of records are a handful of runs.

/// Consecutive records of one lane that were acknowledged at consecutive offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Offset of the first.
    pub base_offset: i64,
    /// Lane of all.
    pub lane: u32,
    /// Sequence of the first.
    pub base_sequence: u64,
    /// How many.
    pub count: u64,
}

impl Run {
    /// The first offset after the run.
    pub fn end_offset(&self) -> i64 {
        self.base_offset + self.count as i64
    }
}

/// All acknowledgements of one thread, or of a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    partitions: Vec<Vec<Run>>,
}

impl Ledger {
    /// `count` records of a lane, from `base_sequence`, were acknowledged from `base_offset`.
    pub fn on_acknowledged(&mut self, partition: u32, base_offset: i64, lane: u32, base_sequence: u64, count: u64) {
        let partition = partition as usize;
        if self.partitions.len() <= partition {
            self.partitions.resize_with(partition + 1, Vec::new);
        }
        let runs = &mut self.partitions[partition];
        if let Some(last) = runs.last_mut() {
            let follows = last.end_offset() == base_offset && last.base_sequence + last.count == base_sequence;
            if follows && last.lane == lane {
                last.count += count;
                return;
            }
        }
        runs.push(Run { base_offset, lane, base_sequence, count });
    }

    /// Adds another thread's acknowledgements.
    pub fn add(&mut self, other: Self) {
        if self.partitions.len() < other.partitions.len() {
            self.partitions.resize_with(other.partitions.len(), Vec::new);
        }
        for (mine, others) in self.partitions.iter_mut().zip(other.partitions) {
            mine.extend(others);
        }
    }

    /// All records.
    pub fn count(&self) -> u64 {
        self.partitions.iter().flatten().map(|run| run.count).sum()
    }

    /// The runs of each of `partitions` partitions by offset, without overlaps; and how many records claimed an offset that
    /// another had.
    pub fn into_sorted(mut self, partitions: usize) -> (Vec<Vec<Run>>, u64) {
        let mut given_twice = 0;
        self.partitions.resize_with(partitions.max(self.partitions.len()), Vec::new);
        for runs in &mut self.partitions {
            runs.sort_by_key(|run| run.base_offset);
            let mut end_offset = i64::MIN;
            for run in runs.iter_mut() {
                let overlap = end_offset.saturating_sub(run.base_offset).clamp(0, run.count as i64) as u64;
                given_twice += overlap;
                run.base_offset += overlap as i64;
                run.base_sequence += overlap;
                run.count -= overlap;
                end_offset = end_offset.max(run.end_offset());
            }
            runs.retain(|run| run.count > 0);
        }
        (self.partitions, given_twice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_acknowledgements_are_one_run() {
        let mut ledger = Ledger::default();
        for n in 0..100 {
            ledger.on_acknowledged(2, 50 + n, 1, n as u64, 1);
        }
        ledger.on_acknowledged(2, 150, 7, 100, 5);
        ledger.on_acknowledged(0, 0, 1, 0, 1);
        assert_eq!(ledger.count(), 106);
        let (runs, given_twice) = ledger.into_sorted(4);
        assert_eq!((runs.len(), given_twice), (4, 0));
        assert_eq!(runs[2].len(), 2);
        assert_eq!(runs[2][0], Run { base_offset: 50, lane: 1, base_sequence: 0, count: 100 });
    }

    #[test]
    fn an_offset_given_twice_is_counted_and_kept_once() {
        let (mut one, mut other) = (Ledger::default(), Ledger::default());
        one.on_acknowledged(0, 10, 0, 0, 10);
        other.on_acknowledged(0, 15, 1, 0, 10);
        other.on_acknowledged(0, 12, 1, 20, 2);
        one.add(other);
        let (runs, given_twice) = one.into_sorted(1);
        assert_eq!(given_twice, 7);
        assert_eq!(runs[0][1], Run { base_offset: 20, lane: 1, base_sequence: 5, count: 5 });
    }
}
