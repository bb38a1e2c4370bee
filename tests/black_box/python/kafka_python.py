"""kafka-python: an implementation of the protocol that shares no code with the others."""
import sys

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

bootstrap, topic = sys.argv[1:]
CODECS = [None, "gzip"]


def check(condition, what):
    if not condition:
        sys.exit(f"kafka_python.py: {what}")


admin = KafkaAdminClient(bootstrap_servers=bootstrap)
admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])

for codec in CODECS:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type=codec, linger_ms=5)
    sent = [producer.send(topic, key=b"k", value=b"%d" % n, headers=[("n", b"%d" % n)], partition=1, timestamp_ms=1690000000000 + n)
            for n in range(1000)]
    offsets = [future.get(timeout=30).offset for future in sent]
    check(offsets == list(range(offsets[0], offsets[0] + 1000)), "offsets are not in order")
    producer.close()

consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, consumer_timeout_ms=30000)
partition = TopicPartition(topic, 1)
consumer.assign([partition])
consumer.seek_to_beginning(partition)
count = 1000 * len(CODECS)
for expected in range(count):
    record = next(consumer)
    check(record.offset == expected, f"offset {record.offset}, not {expected}")
    check(record.value == b"%d" % (expected % 1000) and record.headers == [("n", record.value)], f"record {record}")
    check(record.timestamp == 1690000000000 + expected % 1000, f"timestamp {record.timestamp}")
check(consumer.end_offsets([partition]) == {partition: count}, "the end offset")
check(consumer.beginning_offsets([partition]) == {partition: 0}, "the beginning offset")
by_time = consumer.offsets_for_times({partition: 1690000000500})
check(by_time[partition].offset == 500, f"by time {by_time}")
consumer.close()
admin.delete_topics([topic])
admin.close()
print("ok")
