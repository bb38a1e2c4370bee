//! Faults that can be planted in a broker or its disk, by name: what the simulator must be able to find.

use storage::disk::SimDiskOptions;

/// How a broker or its disk is to be wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bugs {
    /// Of its logs.
    pub log: storage::log::Bugs,
    skip_flush: bool,
    forget_barrier: bool,
    take_over_early: bool,
}

/// Makes a broker, or its disk, wrong.
type Plant = fn(&mut Bugs);

const ALL: [(&str, Plant); 6] = [
    ("skip-flush", |bugs| bugs.skip_flush = true),
    ("forget-barrier", |bugs| bugs.forget_barrier = true),
    ("take-over-early", |bugs| bugs.take_over_early = true),
    ("acknowledge-early", |bugs| bugs.log.acknowledge_early = true),
    ("keep-torn-tail", |bugs| bugs.log.keep_torn_tail = true),
    ("forget-producers", |bugs| bugs.log.forget_producers = true),
];

/// Those that one broker must show.
pub const IN_ONE: [&str; 6] =
    ["skip-flush", "forget-barrier", "take-over-early", "acknowledge-early", "keep-torn-tail", "forget-producers"];

/// Those that a cluster must show.
pub const IN_CLUSTER: [&str; 2] = ["skip-flush", "acknowledge-early"];

impl Bugs {
    /// One fault, by its name.
    pub fn planted(name: &str) -> Option<Bugs> {
        let (_, plant) = ALL.iter().find(|(known, _)| *known == name)?;
        let mut bugs = Bugs::default();
        plant(&mut bugs);
        Some(bugs)
    }

    /// A disk that is wrong like that.
    pub fn of_disk(&self, options: SimDiskOptions) -> SimDiskOptions {
        SimDiskOptions {
            bug_skip_flush: self.skip_flush,
            bug_forget_barrier: self.forget_barrier,
            bug_take_over_early: self.take_over_early,
            ..options
        }
    }
}
