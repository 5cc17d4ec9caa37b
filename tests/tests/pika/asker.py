"""Asks the Rust agent `triple`: rightly, with an input of another type, with garbage, and one that is not there."""

import json
import sys
import uuid

import pika

from coditect import Refused, Unserved, ask, wire

url = sys.argv[1]
names = wire.Names()


def ask_with(body):
    """Sends a request whose body is not even JSON, and returns the body of the reply."""
    reply_to, answers = f"reply.{uuid.uuid4()}", []
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        own = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(own, names.direct, names.work(reply_to))
        taken = lambda _channel, _method, properties, answer: answers.append((properties, answer))
        channel.basic_consume(own, taken, auto_ack=True)
        question = wire.properties("request", patience=30, reply_to=reply_to, correlation_id="7")
        channel.basic_publish(names.direct, names.work("capability.triple.v1"), body, question)
        while not answers:
            connection.process_data_events(time_limit=30)
    properties, answer = answers[0]
    assert properties.correlation_id == "7", properties
    assert properties.headers["coditect-kind"] == "reply", properties
    assert properties.content_type == "application/json", properties
    return json.loads(answer)


print("answer", ask(url, "triple@^1.0", 14))
try:
    ask(url, "triple", "fourteen")
except Refused as refused:
    print("another type", refused.failure["kind"])
print("garbage", ask_with(b"\xff\x00 no JSON")["failure"]["failure"]["kind"])
try:
    ask(url, "nobody", 1)
except Unserved:
    print("nobody unserved")
