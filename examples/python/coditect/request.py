"""Asking an agent, outside of any run."""

import json
import time
import uuid

import pika
from pika.exceptions import UnroutableError

from . import wire
from .link import parameters


class Unserved(Exception):
    """No agent has ever offered what was asked for."""


class Refused(Exception):
    """The agent answered with a failure."""

    def __init__(self, failure):
        super().__init__(f"{failure.get('kind')}: {failure.get('message')}")
        self.failure = failure


def ask(url, requirement, given, namespace="coditect", patience=30.0):
    """Asks an agent that meets a requirement such as `summarize@^1.2`, and returns its answer.

    Raises `TimeoutError` if none comes: what was asked for may have been done all the same.
    """
    names, required = wire.Names(namespace), wire.Requirement(requirement)
    reply_to, correlation = f"reply.{uuid.uuid4()}", str(uuid.uuid4())
    answers = []

    def answered(_channel, _method, properties, body):
        if properties.correlation_id == correlation:
            answers.append(json.loads(body))

    with pika.BlockingConnection(parameters(url)) as connection:
        channel = connection.channel()
        wire.declare_exchanges(channel, names)
        own = channel.queue_declare("", exclusive=True, auto_delete=True).method.queue
        for priority in wire.PRIORITIES:
            channel.queue_bind(own, names.direct, names.work(reply_to, priority))
        channel.basic_consume(own, answered, auto_ack=True)
        channel.confirm_delivery()
        question = wire.properties(
            "request",
            {"coditect-requirement": requirement},
            patience=patience,
            reply_to=reply_to,
            correlation_id=correlation,
        )
        body = json.dumps(given, allow_nan=False).encode()
        try:
            key = names.work(required.queue())
            channel.basic_publish(names.direct, key, body, question, mandatory=True)
        except UnroutableError:
            raise Unserved(requirement) from None
        deadline = time.monotonic() + patience
        while not answers:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"`{requirement}` did not answer within {patience} s")
            connection.process_data_events(time_limit=left)
    answer = answers[0]
    if "output" in answer:
        return answer["output"]
    raise Refused(answer.get("failure", {}).get("failure", {"message": "it answered with a plan"}))
