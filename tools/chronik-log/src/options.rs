//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Looks into the files of a partition: offline, and without changing anything.
///
/// A partition is a directory such as data/partitions/orders-0. In it, segments named after their first record's offset
/// (00000000000000000000.log, ...) hold record batches back to back, in Kafka's format, and perhaps zeros after the last one: space
/// that was prepared for writing. Each command takes directories and single segment files.
///
/// Use it on a stopped broker, or on a copy: what a running one is just writing looks torn.
#[derive(Debug, Parser)]
#[command(name = "chronik-log", version, after_help = EXAMPLES)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// One JSON object a line, for programs, in place of text.
    #[arg(long, global = true)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  chronik-log verify data/partitions/*            Is everything in order? Exit status 0: yes, 1: no
  chronik-log stats data/partitions/orders-0      How much is in it, and of what kind
  chronik-log dump data/partitions/orders-0       One line a batch
  chronik-log dump --records --from-offset 1000 --count 5 data/partitions/orders-0
                                                  Keys and values of five batches

Exit status: 0 all in order, 1 something is bad (said with file, byte and reason), 2 something could not be read at all.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the batches, one line each, and with --records what is in them.
    Dump(Dump),
    /// Check everything: sizes, checksums, contiguous offsets, epochs that never fall, indexes, the small files. Prints the first
    /// bad byte of each segment, and why it is bad.
    Verify(Verify),
    /// Count batches, records and bytes, by codec; offsets, timestamps, producers, epochs.
    Stats(Stats),
}

/// What `dump` takes.
#[derive(Debug, Args)]
pub struct Dump {
    /// Partition directories, or segment files.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Print keys, values and headers too.
    #[arg(long)]
    pub records: bool,
    /// Begin with the batch that holds this offset, or the first after it.
    #[arg(long, value_name = "OFFSET")]
    pub from_offset: Option<i64>,
    /// Print at most so many batches of each path.
    #[arg(long, value_name = "BATCHES")]
    pub count: Option<u64>,
    /// Print at most so many bytes of each key and value; 0: all.
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    pub value_bytes: usize,
    /// Decompress at most so many bytes a batch.
    #[arg(long, value_name = "BYTES", default_value_t = DECOMPRESSED_BYTES_MAX)]
    pub decompressed_bytes_max: usize,
}

/// What `verify` takes.
#[derive(Debug, Args)]
pub struct Verify {
    /// Partition directories, or segment files.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Decompress every batch and check its records, too. What is bad in there came so from its producer.
    #[arg(long)]
    pub records: bool,
    /// Decompress at most so many bytes a batch.
    #[arg(long, value_name = "BYTES", default_value_t = DECOMPRESSED_BYTES_MAX)]
    pub decompressed_bytes_max: usize,
}

/// What `stats` takes.
#[derive(Debug, Args)]
pub struct Stats {
    /// Partition directories, or segment files.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
}

/// No producer's batch needs more, as far as we know.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;
