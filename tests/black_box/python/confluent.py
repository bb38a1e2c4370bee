"""confluent-kafka: an idempotent producer, a reader by assign(), and the admin client."""
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec)

bootstrap, topic = sys.argv[1:]
RECORDS = 5000


def check(condition, what):
    if not condition:
        sys.exit(f"confluent.py: {what}")


def create(admin):
    admin.create_topics([NewTopic(topic, 3, 1, config={"retention.ms": "86400000"})])[topic].result(30)
    again = admin.create_topics([NewTopic(topic, 3, 1)])[topic].exception(30)
    check(again.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, f"created twice: {again}")


def produce():
    acknowledged = {}

    def delivered(error, message):
        check(error is None, f"not acknowledged: {error}")
        acknowledged[message.value()] = (message.partition(), message.offset())

    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
                         "compression.type": "zstd"})
    for n in range(RECORDS):
        producer.produce(topic, key=str(n % 10), value=str(n), headers=[("n", str(n)), ("none", None)],
                         on_delivery=delivered)
        producer.poll(0)
    check(producer.flush(60) == 0, "records are left in the queue")
    check(len(acknowledged) == RECORDS, f"{len(acknowledged)} acknowledged")
    return acknowledged


def read():
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(3)])
    found = {}
    while len(found) < RECORDS:
        batch = consumer.consume(1000, timeout=30)
        check(batch, f"only {len(found)} of {RECORDS} records came")
        for message in batch:
            check(message.error() is None, f"read: {message.error()}")
            check(message.value() not in found, f"{message.value()} came twice")
            check(dict(message.headers())["n"] == message.value(), "a header of another record")
            found[message.value()] = (message.partition(), message.offset())
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
    check(low == 0 and high == sum(1 for partition, _ in found.values() if partition == 0), f"watermarks {low} {high}")
    consumer.close()
    return found


def administer(admin):
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result(30)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    configs = admin.describe_configs([resource])[resource].result(30)
    check(configs["retention.ms"].value == "86400000", "the config of the creation")
    change = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[
        ConfigEntry("min.insync.replicas", "1", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE)])
    admin.incremental_alter_configs([change])[change].result(30)
    configs = admin.describe_configs([resource])[resource].result(30)
    check(configs["retention.ms"].value == "604800000", "the default is back")
    partition = TopicPartition(topic, 0)
    latest = admin.list_offsets({partition: OffsetSpec.latest()})[partition].result(30).offset
    deleted = admin.delete_records([TopicPartition(topic, 0, latest)])
    check(list(deleted.values())[0].result(30).low_watermark == latest, "the log starts where asked")
    earliest = admin.list_offsets({partition: OffsetSpec.earliest()})[partition].result(30).offset
    check(earliest == latest, f"earliest {earliest}, latest {latest}")
    cluster = admin.describe_cluster().result(30)
    check(cluster.cluster_id and len(cluster.nodes) == 1, "the cluster")
    admin.delete_topics([topic])[topic].result(30)


admin = AdminClient({"bootstrap.servers": bootstrap})
create(admin)
written = produce()
check(read() == written, "records were read elsewhere than acknowledged")
administer(admin)
print("ok")
