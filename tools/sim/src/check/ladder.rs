//! Offsets are dense, and the ladder holds: log start <= high watermark, nothing at or above the high watermark is served,
//! and the mark never falls within a process's life (one connection is within one).

use anyhow::{Result, ensure};

/// One partition as one connection sees it.
#[derive(Default)]
pub struct Ladder {
    high_watermark: i64,
}

impl Ladder {
    /// A fetch was answered with these rungs.
    pub fn on_fetched(&mut self, partition: i32, log_start: i64, high_watermark: i64) -> Result<()> {
        let before = self.high_watermark;
        ensure!(
            high_watermark >= before,
            "partition {partition}: the high watermark fell from {before} to {high_watermark}"
        );
        ensure!(
            (0..=high_watermark).contains(&log_start),
            "partition {partition}: log start {log_start}, high watermark {high_watermark}"
        );
        self.high_watermark = high_watermark;
        Ok(())
    }

    /// A record was served where `due` is the next offset.
    pub fn on_record(&self, partition: i32, offset: i64, due: i64) -> Result<()> {
        let high_watermark = self.high_watermark;
        ensure!(
            offset < high_watermark,
            "partition {partition}: offset {offset} is served, the high watermark is {high_watermark}"
        );
        ensure!(offset == due, "partition {partition}: offset {offset} follows where {due} is due");
        Ok(())
    }
}
