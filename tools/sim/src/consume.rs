//! Consumers: read every partition from its start, again and again, and tell the checkers all they see.

use anyhow::{Result, anyhow, bail, ensure};
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::records::RecordBatchDecoder;

use crate::check::Ladder;
use crate::client::{Client, topic_name};
use crate::wire::Wire;

const FETCH_VERSION: i16 = 11;
const OFFSET_OUT_OF_RANGE: i16 = 1;

/// Reads until everything was read after the last producer was done.
pub async fn run(client: Client) {
    loop {
        let is_last = client.history.done().0 == client.crew.producers;
        for partition in 0..client.crew.partitions {
            let mut due = 0;
            while let Err(error) = read_to_end(&client, partition, &mut due, is_last).await {
                client.log(format_args!("{partition}: {error:#}"));
                client.on_lost(partition);
                client.pause(200).await;
            }
        }
        if is_last {
            client.log(format_args!("has read everything"));
            return client.history.on_consumer_done();
        }
        client.pause(500).await;
    }
}

async fn read_to_end(client: &Client, partition: i32, due: &mut i64, is_last: bool) -> Result<()> {
    let mut wire = client.connect(partition).await?;
    let mut ladder = Ladder::default();
    while *due < read_once(client, &mut wire, &mut ladder, partition, due).await? {}
    // A new leader may not know yet how far its predecessor had come.
    let told_end = client.history.told_end(partition);
    ensure!(!is_last || *due >= told_end, "it ends at {due}, where all below {told_end} was told of");
    Ok(())
}

/// Reads on; the high watermark.
async fn read_once(
    client: &Client,
    wire: &mut Wire,
    ladder: &mut Ladder,
    partition: i32,
    due: &mut i64,
) -> Result<i64> {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(client.leader_epoch(partition))
        .with_fetch_offset(*due)
        .with_partition_max_bytes(60_000);
    let topic = FetchTopic::default().with_topic(topic_name()).with_partitions(vec![wanted]);
    let request =
        FetchRequest::default().with_max_wait_ms(300).with_min_bytes(1).with_max_bytes(60_000).with_topics(vec![topic]);
    let answer = wire.ask(&request, FETCH_VERSION).await?;
    let Some(part) = answer.responses.into_iter().next().and_then(|topic| topic.partitions.into_iter().next()) else {
        bail!("error {}, no partition", answer.error_code)
    };
    if part.error_code == OFFSET_OUT_OF_RANGE {
        // It was read up to there.
        client
            .history
            .note(Err(anyhow!("partition {partition}: all below {due} was read, and now that is out of range")));
    }
    ensure!(part.error_code == 0, "error {}", part.error_code);
    client.history.note(ladder.on_fetched(partition, part.log_start_offset, part.high_watermark));
    let before = *due;
    for set in RecordBatchDecoder::decode_all(&mut part.records.unwrap_or_default())? {
        for record in set.records.iter().filter(|record| record.offset >= before) {
            client.history.note(ladder.on_record(partition, record.offset, *due));
            client.history.on_seen(partition, record.offset, record.value.as_deref().unwrap_or_default());
            *due = record.offset + 1;
        }
    }
    client.log(format_args!("{partition}: {before} to {due} of {}", part.high_watermark));
    Ok(part.high_watermark)
}
