"""Does the task of `fumble` with everything around its outcome that should not be there, and that of `mumble` unreadably."""

import json
import os
import sys
import threading
import uuid

import pika

from coditect import wire


def end_with_the_test():
    sys.stdin.read()
    os._exit(3)


threading.Thread(target=end_with_the_test, daemon=True).start()
names = wire.Names()
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.confirm_delivery()
wire.declare_exchanges(channel, names)


def tell(to, body, kind="outcome"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    channel.basic_publish(names.direct, names.work(to), body, wire.properties(kind), mandatory=True)


def fumble(channel, method, properties, _body):
    to, run = properties.reply_to, properties.headers["coditect-run"]
    right = {"run": run, "task": int(properties.headers["coditect-task"]), "attempt": 1}
    first = {"output": "first"}
    tell(to, b"\xff\x00 no JSON")
    tell(to, {})
    tell(to, {**right, "run": str(uuid.uuid4()), "outcome": first})
    tell(to, {**right, "run": 7, "outcome": first})
    tell(to, {**right, "task": 999, "outcome": first})
    tell(to, {**right, "attempt": 0, "outcome": {"output": "wrong"}})
    tell(to, {**right, "attempt": 999, "outcome": {"output": "wrong"}})
    tell(to, {**right, "outcome": first, "more": ["is", "ignored"]})
    tell(to, {**right, "outcome": {"output": "second"}})
    tell(to, {**right, "outcome": {"failure": {"failure": {"kind": "permanent", "message": "third"}}}})
    tell(to, {**right, "outcome": first}, kind="task")
    channel.basic_ack(method.delivery_tag)
    print("fumbled", flush=True)


def mumble(channel, method, properties, _body):
    run, task = properties.headers["coditect-run"], int(properties.headers["coditect-task"])
    tell(properties.reply_to, {"run": run, "task": task, "attempt": 1, "outcome": {"nonsense": 1}})
    channel.basic_ack(method.delivery_tag)


def trouble(channel):
    """Puts what no agent can read into the queues of others, and cries for others' attempts to stop."""
    for body in (b"", b"\xff", b"{}", b'{"owner": 1}', b"[" * 100_000):
        control = wire.properties("control")
        channel.basic_publish(names.fanout[1], "control", body, control)
    queue = names.work("capability.triple.v1")
    for kind in ("task", "outcome", "what is this"):
        channel.basic_publish(names.direct, queue, b"\x00", wire.properties(kind), mandatory=True)
    channel.basic_publish("", queue, b"", pika.BasicProperties(), mandatory=True)


for name, handler in (("fumble", fumble), ("mumble", mumble)):
    queue = f"capability.{name}.v1"
    wire.declare_queue(channel, names, queue)
    for priority in wire.PRIORITIES:
        channel.basic_consume(names.work(queue, priority), handler)
trouble(channel)
print("ready", flush=True)
channel.start_consuming()
