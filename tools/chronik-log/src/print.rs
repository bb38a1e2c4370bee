//! Lines: text for people, JSON objects for programs.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use storage::batch::{BatchHeader, Compression};
use storage::records::Record;

use crate::walk::Bad;

/// A codec's name.
pub fn codec(header: &BatchHeader) -> &'static str {
    match header.compression() {
        Ok(Compression::None) => "none",
        Ok(Compression::Gzip) => "gzip",
        Ok(Compression::Snappy) => "snappy",
        Ok(Compression::Lz4) => "lz4",
        Ok(Compression::Zstd) => "zstd",
        Err(_) => "unknown",
    }
}

/// A number and what it counts.
pub fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// One line that says what is bad where.
pub fn bad(out: &mut impl Write, json: bool, file: &Path, position: usize, reason: &str) -> io::Result<()> {
    if json {
        let object = json!({"kind": "bad", "file": file.to_string_lossy(), "position": position, "reason": reason});
        return writeln!(out, "{object}");
    }
    writeln!(out, "BAD {}: byte {position}: {reason}", file.display())
}

/// What is bad about a batch, in words.
pub fn reason(bad: &Bad) -> String {
    let mut reason = format!("{} (the batch at byte {})", bad.fault, bad.batch_position);
    if let Some((position, offset)) = bad.next_good {
        write!(reason, "; the next good batch is at byte {position}, offset {offset}")
            .expect("a string takes all that is written to it");
    }
    reason
}

/// A batch.
pub fn batch(out: &mut impl Write, json: bool, file: &Path, position: usize, header: &BatchHeader) -> io::Result<()> {
    let (base, last, epoch) = (header.base_offset, header.last_offset(), header.leader_epoch.0);
    let (count, bytes, codec) = (header.record_count, header.batch_bytes, codec(header));
    let (from, to) = (header.base_timestamp, header.max_timestamp);
    if json {
        let object = json!({
            "kind": "batch", "file": file.to_string_lossy(), "position": position, "base_offset": base, "last_offset": last,
            "records": count, "bytes": bytes, "leader_epoch": epoch, "compression": codec, "base_timestamp": from,
            "max_timestamp": to, "producer_id": header.producer_id.0, "producer_epoch": header.producer_epoch,
            "base_sequence": header.base_sequence, "transactional": header.is_transactional(),
            "control": header.is_control(), "crc": header.crc,
        });
        return writeln!(out, "{object}");
    }
    write!(out, "byte {position}: offsets {base} to {last}, {count} records, {bytes} bytes, {codec}, epoch {epoch}")?;
    write!(out, ", time {from} to {to}, crc {:#010x}", header.crc)?;
    if header.producer_id.0 >= 0 {
        let (id, epoch, sequence) = (header.producer_id.0, header.producer_epoch, header.base_sequence);
        write!(out, ", producer {id} epoch {epoch} sequence {sequence}")?;
    }
    let flags = [(header.is_transactional(), ", transactional"), (header.is_control(), ", control")];
    for (_, flag) in flags.iter().filter(|(is_set, _)| *is_set) {
        write!(out, "{flag}")?;
    }
    writeln!(out)
}

/// A record; of keys and values at most `bytes_max`.
pub fn record(out: &mut impl Write, json: bool, record: &Record<'_>, bytes_max: usize) -> io::Result<()> {
    let cut = |bytes: &[u8]| text(bytes, bytes_max);
    let shown = |bytes: Option<&[u8]>| bytes.map_or("null".to_owned(), |bytes| format!("\"{}\"", cut(bytes)));
    if json {
        let headers: Vec<Value> =
            record.headers().map(|(name, value)| json!({"name": cut(name), "value": value.map(cut)})).collect();
        let mut object = Map::new();
        object.insert("kind".into(), "record".into());
        object.insert("offset".into(), record.offset.into());
        object.insert("timestamp".into(), record.timestamp.into());
        object.insert("key".into(), record.key.map(cut).into());
        object.insert("key_bytes".into(), record.key.map(<[u8]>::len).into());
        object.insert("value".into(), record.value.map(cut).into());
        object.insert("value_bytes".into(), record.value.map(<[u8]>::len).into());
        object.insert("headers".into(), headers.into());
        return writeln!(out, "{}", Value::Object(object));
    }
    write!(
        out,
        "  offset {}, time {}, key {}, value {}",
        record.offset,
        record.timestamp,
        shown(record.key),
        shown(record.value)
    )?;
    for (name, value) in record.headers() {
        write!(out, ", header \"{}\" = {}", cut(name), shown(value))?;
    }
    writeln!(out)
}

/// Bytes as text, as far as they are some; all others, quotes and backslashes escaped, so that every byte can be told. `bytes_max` 0: all.
pub fn text(bytes: &[u8], bytes_max: usize) -> String {
    let kept = if bytes_max == 0 { bytes } else { &bytes[..bytes.len().min(bytes_max)] };
    let mut text = String::with_capacity(kept.len());
    for chunk in kept.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => text.extend(['\\', character]),
                _ if character.is_control() => text.extend(character.escape_default()),
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a string takes all that is written to it");
        }
    }
    if kept.len() < bytes.len() {
        write!(text, "... ({} bytes)", bytes.len()).expect("a string takes all that is written to it");
    }
    text
}
