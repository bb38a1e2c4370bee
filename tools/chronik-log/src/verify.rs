//! `verify`: is everything in order?
//!
//! Invariants: one finding at most for each segment and each file beside it; what comes after it in there is unknown, not good.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use serde_json::json;
use storage::batch::BatchHeader;
use storage::epochs::EpochCache;
use storage::producers::ProducerTable;
use storage::records::Records;

use crate::companions::{EPOCHS_NAME, Places, check_epoch};
use crate::mapped::Mapped;
use crate::options::Verify;
use crate::partition::{Partition, SegmentFile, offset_in_name};
use crate::print;
use crate::walk::{Step, Walk};

/// Checks every path. False: something is bad.
pub fn run(options: &Verify, json: bool, out: &mut impl Write) -> Result<bool> {
    let mut is_good = true;
    for path in &options.paths {
        let mut check = Check { options, json, out: &mut *out, bad: 0, batches: 0, records: 0, epochs: None };
        check.partition(&Partition::open(path)?)?;
        let Check { bad, batches, records, .. } = check;
        is_good &= bad == 0;
        if json {
            let object = json!({
                "kind": "verified", "path": path.to_string_lossy(), "good": bad == 0, "bad": bad,
                "good_batches": batches, "good_records": records,
            });
            writeln!(out, "{object}")?;
        } else {
            let verdict = if bad == 0 { "in order".to_owned() } else { format!("NOT in order, {bad} found bad") };
            let (batches, records) =
                (print::count(batches, "good batch", "good batches"), print::count(records, "record", "records"));
            writeln!(out, "{}: {verdict}; {batches}, {records}", path.display())?;
        }
    }
    Ok(is_good)
}

struct Check<'a, W> {
    options: &'a Verify,
    json: bool,
    out: &'a mut W,
    bad: u64,
    batches: u64,
    records: u64,
    epochs: Option<EpochCache>,
}

impl<W: Write> Check<'_, W> {
    fn finding(&mut self, file: &Path, position: usize, reason: &str) -> Result<()> {
        self.bad += 1;
        Ok(print::bad(self.out, self.json, file, position, reason)?)
    }

    fn partition(&mut self, partition: &Partition) -> Result<()> {
        for companion in &partition.companions {
            self.companion(companion, &partition.segments)?;
        }
        // Of the batch that was last seen: after something bad, nothing is known.
        let mut last = None;
        for segment in &partition.segments {
            last = self.segment(segment, last)?;
        }
        Ok(())
    }

    /// Checks a file beside the segments as far as it can be without them.
    fn companion(&mut self, path: &Path, segments: &[SegmentFile]) -> Result<()> {
        let index_of = offset_in_name(path, "index").or_else(|| offset_in_name(path, "timeindex"));
        let reason =
            if index_of.is_some_and(|offset| segments.iter().all(|segment| segment.base_offset != Some(offset))) {
                Some("there is no segment of this name".to_owned())
            } else if offset_in_name(path, "snapshot").is_some() {
                ProducerTable::from_bytes(Mapped::open(path)?.bytes()).err().map(|error| error.to_string())
            } else if path.file_name().is_some_and(|name| name == EPOCHS_NAME) {
                match EpochCache::from_text(Mapped::open(path)?.bytes()) {
                    Ok(epochs) => {
                        self.epochs = Some(epochs);
                        None
                    }
                    Err(error) => Some(error.to_string()),
                }
            } else {
                None
            };
        reason.map_or(Ok(()), |reason| self.finding(path, 0, &reason))
    }

    /// Checks a segment after the batch `last`, and its indexes; returns its own last batch, or that of the one before.
    fn segment(&mut self, segment: &SegmentFile, last: Option<BatchHeader>) -> Result<Option<BatchHeader>> {
        let (path, expected) = (&segment.path, last.map(|last| last.end_offset()));
        if let (Some(expected), Some(found)) = (expected, segment.base_offset)
            && expected != found
        {
            self.finding(path, 0, &format!("the segment begins at offset {found}, {expected} comes next"))?;
        }
        let mapped = Mapped::open(path)?;
        let first_offset = segment.base_offset.or(expected);
        let walk = Walk::new(mapped.bytes(), first_offset, last.map(|last| last.leader_epoch));
        let mut places = Places::new(first_offset.unwrap_or(0));
        let (mut newest, mut contradiction) = (last, None);
        for step in walk {
            match step {
                Step::Batch { position, header, bytes } => {
                    places.add(position, &header);
                    newest = Some(header);
                    self.batches += 1;
                    self.records += u64::from(header.record_count.unsigned_abs());
                    self.records_of(path, position, bytes)?;
                    if contradiction.is_none() {
                        contradiction = self.epochs.as_ref().and_then(|epochs| check_epoch(epochs, &header).err());
                    }
                }
                Step::End { .. } => {}
                Step::Bad(bad) => {
                    self.finding(path, bad.position, &print::reason(&bad))?;
                    return Ok(None);
                }
            }
        }
        if let Some(reason) = contradiction {
            self.finding(&path.with_file_name(EPOCHS_NAME), 0, &reason)?;
        }
        if segment.base_offset.is_some() {
            self.index(&path.with_extension("index"), |bytes| places.check_offsets(bytes))?;
            self.index(&path.with_extension("timeindex"), |bytes| places.check_times(bytes))?;
        }
        Ok(newest)
    }

    /// Checks an index file, if it is there: the active segment has none.
    fn index(&mut self, path: &Path, check: impl Fn(&[u8]) -> Result<(), String>) -> Result<()> {
        if !path.exists() {
            return Ok(());
        }
        match check(Mapped::open(path)?.bytes()) {
            Ok(()) => Ok(()),
            Err(reason) => self.finding(path, 0, &reason),
        }
    }

    fn records_of(&mut self, file: &Path, position: usize, batch: &[u8]) -> Result<()> {
        if !self.options.records {
            return Ok(());
        }
        let records = Records::of(batch, self.options.decompressed_bytes_max);
        match records.and_then(|records| records.iter().try_for_each(|record| record.map(drop))) {
            Ok(()) => Ok(()),
            Err(error) => self.finding(file, position, &format!("{error} (the batch at byte {position})")),
        }
    }
}
