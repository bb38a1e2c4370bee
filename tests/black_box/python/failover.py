"""A producer with acks=all that takes some seconds, while a broker dies; then all is read, in order."""
import sys
import time

client, bootstrap, topic, records, per_second = sys.argv[1:]
RECORDS, PER_SECOND = int(records), int(per_second)


def check(condition, what):
    if not condition:
        sys.exit(f"failover.py: {client}: {what}")


def paced():
    begun = time.monotonic()
    for n in range(RECORDS):
        time.sleep(max(0, begun + n / PER_SECOND - time.monotonic()))
        yield n


def confluent():
    from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

    offsets = []

    def delivered(error, message):
        check(error is None, f"not acknowledged: {error}")
        offsets.append(message.offset())

    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True})
    for n in paced():
        producer.produce(topic, value=str(n), partition=0, on_delivery=delivered)
        producer.poll(0)
    check(producer.flush(60) == 0, "records are left in the queue")
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    values = []
    while len(values) < RECORDS:
        messages = consumer.consume(1000, timeout=30)
        check(messages, f"only {len(values)} records came")
        # That a broker is gone is told as an error, too.
        values += [int(message.value()) for message in messages if message.error() is None]
    return offsets, values


def kafka_python():
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), acks="all", enable_idempotence=True)
    sent = [producer.send(topic, value=b"%d" % n, partition=0) for n in paced()]
    offsets = [future.get(timeout=60).offset for future in sent]
    consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","), enable_auto_commit=False,
                             consumer_timeout_ms=30000)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    return offsets, [int(record.value) for record, _ in zip(consumer, range(RECORDS))]


offsets, values = confluent() if client == "confluent" else kafka_python()
check(offsets == list(range(RECORDS)), "acknowledged elsewhere, or twice, or not")
check(values == list(range(RECORDS)), "not all was read once and in order")
print("ok")
