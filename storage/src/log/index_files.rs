//! Reading a segment's index files.
//!
//! *Which core*: the log's.
//! *Invariants*: an index is a hint: whoever uses it checks the batch that it names, and does without it if that is another one.
//! *Not here*: their bytes (`index`), writing them (seal, settle).

use super::file::{SegmentFile, segment_name};
use super::scan::Scanner;
use super::segment::Segment;
use super::small;
use super::sparse::{Place, SparseIndex};
use crate::batch::{BatchHeader, HEADER_BYTES};
use crate::disk::DiskError;
use crate::index::{OffsetIndex, TimeIndex};

/// The files of one segment.
pub(super) struct IndexFiles {
    pub(super) offsets: OffsetIndex,
    pub(super) times: TimeIndex,
}

impl IndexFiles {
    /// Reads both; `None` if one is missing or makes no sense for a segment of so many bytes.
    pub(super) async fn read(file: &SegmentFile, segment_bytes: u64) -> Result<Option<IndexFiles>, DiskError> {
        let base_offset = file.base_offset.get();
        let path = |extension| file.dir.join(segment_name(base_offset, extension));
        let Some(offsets) = small::read(&file.disk, &path("index")).await? else { return Ok(None) };
        let Some(times) = small::read(&file.disk, &path("timeindex")).await? else { return Ok(None) };
        let offsets = OffsetIndex::from_bytes(base_offset, segment_bytes, &offsets);
        let times = TimeIndex::from_bytes(base_offset, i64::MAX, &times);
        Ok(offsets.ok().zip(times.ok()).map(|(offsets, times)| IndexFiles { offsets, times }))
    }
}

/// Lets a scan of `segment` begin at `place`, with an index that ends there, if there is the batch that the index names.
pub(super) async fn skip_to(
    segment: &mut Segment,
    scanner: &mut Scanner,
    index: SparseIndex,
    place: Place,
) -> Result<(), DiskError> {
    if scanner.file_bytes() < place.position + HEADER_BYTES as u64 {
        return Ok(());
    }
    match BatchHeader::parse(scanner.bytes_at(place.position, HEADER_BYTES).await?) {
        Ok(header) if header.last_offset() == place.last_offset && header.base_offset >= segment.base_offset => {
            segment.max_timestamp = Some(index.newest().map_or(-1, |(timestamp, _)| timestamp));
            segment.index = Some(index);
            segment.bytes = place.position;
            (scanner.position, scanner.expected) = (place.position, header.base_offset);
        }
        Ok(_) | Err(_) => tracing::warn!("the index of {} is wrong", segment.file.path().display()),
    }
    Ok(())
}

impl SparseIndex {
    /// The whole index of a sealed segment.
    pub(super) async fn read(
        file: &SegmentFile,
        segment_bytes: u64,
        interval_bytes: u64,
    ) -> Result<Option<SparseIndex>, DiskError> {
        let Some(files) = IndexFiles::read(file, segment_bytes).await? else { return Ok(None) };
        Ok(Some(SparseIndex::from_files(&files.offsets, &files.times, interval_bytes)))
    }
}
