//! `dump`: a line for every batch, and for every record if wanted.

use std::io::Write;

use anyhow::Result;
use storage::records::Records;

use crate::mapped::Mapped;
use crate::options::Dump;
use crate::partition::Partition;
use crate::print;
use crate::walk::{Step, Walk};

/// Dumps every path. False: something is bad.
pub fn run(options: &Dump, json: bool, out: &mut impl Write) -> Result<bool> {
    let mut is_good = true;
    for path in &options.paths {
        is_good &= partition(&Partition::open(path)?, options, json, out)?;
    }
    Ok(is_good)
}

fn partition(partition: &Partition, options: &Dump, json: bool, out: &mut impl Write) -> Result<bool> {
    let mut is_good = true;
    let mut left = options.count.unwrap_or(u64::MAX);
    let from_offset = options.from_offset.unwrap_or(i64::MIN);
    for (index, segment) in partition.segments.iter().enumerate() {
        let ends_before = partition.segments.get(index + 1).and_then(|next| next.base_offset);
        if left == 0 || ends_before.is_some_and(|next| next <= from_offset) {
            continue;
        }
        if !json {
            writeln!(out, "{}", segment.path.display())?;
        }
        let mapped = Mapped::open(&segment.path)?;
        for step in Walk::new(mapped.bytes(), segment.base_offset, None) {
            match step {
                Step::Batch { header, .. } if header.last_offset() < from_offset => {}
                Step::Batch { .. } if left == 0 => break,
                Step::Batch { position, header, bytes } => {
                    left -= 1;
                    print::batch(out, json, &segment.path, position, &header)?;
                    if options.records
                        && let Err(reason) = records(bytes, options, json, out)?
                    {
                        is_good = false;
                        print::bad(out, json, &segment.path, position, &reason)?;
                    }
                }
                Step::End { zeros: 0, .. } => {}
                Step::End { position, zeros } if !json => {
                    writeln!(out, "byte {position}: {zeros} zeros to the end of the file")?
                }
                Step::End { .. } => {}
                Step::Bad(bad) => {
                    is_good = false;
                    print::bad(out, json, &segment.path, bad.position, &print::reason(&bad))?;
                }
            }
        }
    }
    Ok(is_good)
}

/// Prints a batch's records, up to the first that is bad: then the reason.
fn records(batch: &[u8], options: &Dump, json: bool, out: &mut impl Write) -> Result<Result<(), String>> {
    let records = match Records::of(batch, options.decompressed_bytes_max) {
        Ok(records) => records,
        Err(error) => return Ok(Err(error.to_string())),
    };
    for record in records.iter() {
        match record {
            Ok(record) => print::record(out, json, &record, options.value_bytes)?,
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    Ok(Ok(()))
}
