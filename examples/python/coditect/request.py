"""Asking an agent, outside of any run."""

import json
import time
import uuid

import pika
from pika.exceptions import UnroutableError

from . import trouble, wire
from .link import parameters


class Unserved(Exception):
    """No agent has ever offered what was asked for."""

    def __init__(self, requirement):
        super().__init__(f"no agent has ever offered {requirement!r} there: start one, or correct the name")


class Unanswered(TimeoutError):
    """No answer came in time."""


class Refused(Exception):
    """The agent answered with a failure."""

    def __init__(self, failure):
        super().__init__(f"{failure.get('kind')}: {failure.get('message')}")
        self.failure = failure


def ask(url, requirement, given, namespace="coditect", patience=30.0):
    """Asks an agent that meets a requirement such as `summarize@^1.2`, and returns its answer.

    Raises `Unanswered` if none comes: what was asked for may have been done all the same. `Unreachable` and `Refusal`
    say that the broker is not there, or does not let this program in.
    """
    address = parameters(url)
    try:
        return _ask(address, requirement, given, namespace, patience)
    except Unanswered:
        raise
    except trouble.LOST as error:
        raise trouble.explained(address, error) from error


def _ask(address, requirement, given, namespace, patience):
    names, required = wire.Names(namespace), wire.Requirement(requirement)
    reply_to, correlation = f"reply.{uuid.uuid4()}", str(uuid.uuid4())
    answers = []

    def answered(_channel, _method, properties, body):
        if properties.correlation_id == correlation:
            answers.append(json.loads(body))

    with pika.BlockingConnection(address) as connection:
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
                raise Unanswered(f"{requirement!r} did not answer within {patience:g} s; it may have done it all the same")
            connection.process_data_events(time_limit=left)
    answer = answers[0]
    if "output" in answer:
        return answer["output"]
    raise Refused(answer.get("failure", {}).get("failure", {"message": "it answered with a plan"}))
