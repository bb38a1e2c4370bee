//! Replicas as bytes: the batches in the files of one partition, on several brokers.
//!
//! Invariants: nobody may write to the files meanwhile.
//! Not here: what the batches mean (`chronik-log`). It shares no code with the broker.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Base offset and length, which a batch begins with.
const HEAD_BYTES: usize = 12;
/// Where a batch has the last of its offsets, counted from the first.
const LAST_OFFSET_DELTA: std::ops::Range<usize> = 23..27;

/// The batches of a partition, from file to file.
struct Batches {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<BufReader<File>>,
}

impl Batches {
    fn of(folder: &Path) -> Self {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let paths = entries.map(|entry| entry.expect("it can be listed").path());
        let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|name| name == "log")).collect();
        files.sort();
        Self { files: files.into_iter(), open: None }
    }

    /// The next batch, with all its bytes. A file ends with its last byte, or where zeros are written ahead.
    fn read(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(file) = &mut self.open {
                let mut batch = vec![0; HEAD_BYTES];
                match file.read_exact(&mut batch) {
                    Ok(()) if batch[8..12] != [0; 4] => {
                        let length = u32::from_be_bytes([batch[8], batch[9], batch[10], batch[11]]);
                        batch.resize(HEAD_BYTES + length as usize, 0);
                        file.read_exact(&mut batch[HEAD_BYTES..]).expect("a whole batch");
                        return Some(batch);
                    }
                    Err(error) if error.kind() != ErrorKind::UnexpectedEof => panic!("a log cannot be read: {error}"),
                    Ok(()) | Err(_) => self.open = None,
                }
            }
            let file = File::open(self.files.next()?).expect("it was listed");
            self.open = Some(BufReader::with_capacity(1 << 20, file));
        }
    }
}

/// Asserts that the same bytes lie in all these folders of one partition, from the first record on up to `end_offset`, where all end.
pub fn assert_same(folders: &[PathBuf], end_offset: i64) {
    let mut replicas: Vec<Batches> = folders.iter().map(|folder| Batches::of(folder)).collect();
    let mut next = 0;
    loop {
        let batches: Vec<Option<Vec<u8>>> = replicas.iter_mut().map(Batches::read).collect();
        let Some(batch) = &batches[0] else {
            assert!(batches.iter().all(Option::is_none), "{folders:?}: one ends at {next}, others do not");
            assert_eq!(next, end_offset, "{folders:?}");
            return;
        };
        if let Some(other) = batches.iter().position(|other| other != &batches[0]) {
            let heads: Vec<_> = batches.iter().map(|batch| batch.as_ref().map(|batch| batch[..61].to_vec())).collect();
            panic!("at offset {next} {} and {} differ: {heads:?}", folders[0].display(), folders[other].display());
        }
        let base_offset = i64::from_be_bytes(batch[..8].try_into().expect("eight bytes"));
        assert_eq!(base_offset, next, "{}: a gap", folders[0].display());
        next += i64::from(i32::from_be_bytes(batch[LAST_OFFSET_DELTA].try_into().expect("four bytes"))) + 1;
    }
}
