//! Our own files: what a crash, a disk or a person may have made of them.

use storage::batch::BatchHeader;
use storage::producers::ProducerTable;

fn samples() -> Vec<Vec<u8>> {
    let header = |producer_id: i64| {
        let mut batch = vec![0; 80];
        batch[8..12].copy_from_slice(&68_i32.to_be_bytes());
        batch[16] = 2;
        batch[43..51].copy_from_slice(&producer_id.to_be_bytes());
        batch[57..61].copy_from_slice(&1_i32.to_be_bytes());
        BatchHeader::parse(&batch).expect("a header")
    };
    [0, 1, 20]
        .into_iter()
        .map(|producers| {
            let mut table = ProducerTable::default();
            (0..producers).for_each(|producer_id| table.advance(&header(producer_id), 1));
            table.to_bytes()
        })
        .collect()
}

#[test]
fn fuzz_a_producer_snapshot_is_read_or_refused() {
    crate::run(&samples(), |input| {
        if let Ok(table) = ProducerTable::from_bytes(input) {
            assert!(table.len() <= input.len());
        }
    });
}
