//! One history of metadata: what any broker knows to be committed at an index, every broker knows, for ever; and in it, every
//! leader comes from among those that were in sync.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use chronik::metadata::change::Change;
use chronik::metadata::image::{Image, Partition};

use crate::replicas::{Committed, Entry};

/// What somebody knew to be committed.
#[derive(Default)]
pub struct OneHistory {
    /// The oldest metadata that anybody had.
    oldest: Option<Image>,
    entries: BTreeMap<u64, Entry>,
}

impl OneHistory {
    /// A broker knows this to be committed.
    pub fn on_committed(&mut self, broker: &str, Committed { image, entries }: Committed) -> Result<()> {
        if self.oldest.as_ref().is_none_or(|oldest| image.version() < oldest.version()) {
            self.oldest = Some(image);
        }
        for (index, entry) in entries {
            let known = self.entries.entry(index).or_insert_with(|| entry.clone());
            ensure!(
                *known == entry,
                "{broker}: entry {index} is of term {} here, of term {} elsewhere, both committed",
                entry.term,
                known.term
            );
        }
        Ok(())
    }

    /// Every leader was in sync before, or eligible, and stays so.
    pub fn check_elections(&self) -> Result<()> {
        let Some(mut image) = self.oldest.clone() else { return Ok(()) };
        for (index, entry) in self.entries.range(image.version() + 1..) {
            ensure!(*index == image.version() + 1, "entry {} is known to nobody", image.version() + 1);
            if !entry.is_change {
                image = image.skip(*index);
                continue;
            }
            let change = Change::from_bytes(&entry.data).with_context(|| format!("entry {index}"))?;
            let (after, delta) = image.apply(*index, &change).with_context(|| format!("entry {index}"))?;
            for partition in &delta.partitions {
                let of = |image: &Image| image.partition(*partition).cloned();
                if let (Some(before), Some(after)) = (of(&image), of(&after)) {
                    check(&before, &after).with_context(|| format!("entry {index}, {partition:?}"))?;
                }
            }
            image = after;
        }
        Ok(())
    }
}

fn check(before: &Partition, after: &Partition) -> Result<()> {
    ensure!(after.leader_epoch >= before.leader_epoch, "the leader epoch fell");
    ensure!(after.partition_epoch >= before.partition_epoch, "the partition epoch fell");
    let Some(leader) = after.leader else { return Ok(()) };
    ensure!(after.isr.contains(&leader), "leader {leader:?} is not in the ISR {:?}", after.isr);
    if after.leader_epoch > before.leader_epoch || before.leader != after.leader {
        let was_in_sync = before.isr.contains(&leader) || before.elr.contains(&leader);
        ensure!(was_in_sync, "{leader:?} leads; {:?} were in sync, {:?} eligible", before.isr, before.elr);
        ensure!(after.leader_epoch > before.leader_epoch, "{leader:?} leads in an epoch of {:?}", before.leader);
    }
    Ok(())
}
