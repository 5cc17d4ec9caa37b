"""An agent: takes tasks and requests from its queues, has them handled, tells what came of it, acknowledges."""

import collections
import functools
import json
import logging
import queue
import threading
import time
from concurrent import futures
from dataclasses import dataclass

import pika
from pika.exceptions import AMQPError, UnroutableError

from . import trouble, wire
from .attempt import Attempt, Failure, Malformed, Plan, Stopped, Task
from .link import Backoff, Publisher, parameters
from .stops import Stops

__all__ = ["Agent", "Failure", "Plan", "Stopped", "Task"]

log = logging.getLogger("coditect")


@dataclass(eq=False)
class Delivery:
    """A message, and where it is acknowledged."""

    channel: object
    tag: int
    queue: str
    priority: int
    properties: pika.BasicProperties
    body: bytes
    before: int

    def header(self, name):
        value = (self.properties.headers or {}).get(name)
        return value if value is None or isinstance(value, str) else str(value)

    def expires_at(self):
        at = (self.properties.headers or {}).get("coditect-bus-expires-at")
        return at / 1_000_000 if isinstance(at, int) else None

    def expired(self):
        at = self.expires_at()
        return at is not None and at <= time.time()


class Agent:
    """Offers capabilities to whoever needs them, until it is stopped."""

    def __init__(self, url, namespace="coditect", slots=4):
        self._parameters, self._slots = parameters(url), slots
        self._names = wire.Names(namespace)
        self._offers = {}
        self._publisher = Publisher(url)
        self._pool = futures.ThreadPoolExecutor(slots, "handler")
        self._waiting = {priority: collections.deque() for priority in wire.PRIORITIES}
        self._turn = 0
        self._running = {}
        self._stops = Stops()
        self._settled = queue.SimpleQueue()
        self._connection = None
        self._ending = False
        self.ready = threading.Event()

    def offer(self, name, version="1.0.0"):
        """Has a function `handler(task, input)` do what is asked of a capability; a decorator."""
        version = wire.parse(version)

        def register(handler):
            self._offers[wire.queue_of(name, version)] = (name, version, handler)
            return handler

        return register

    def stop(self):
        """Ends `run` when what has begun is done; from any thread, or a signal's handler."""
        # No lock: a signal's handler may interrupt the thread that would hold it.
        self._ending = True

    def run(self):
        """Serves until it is stopped. A connection that breaks is made again and again.

        The first one is the caller's concern: raises `Unreachable` or `Refusal`, with words for people.
        """
        backoff, told = Backoff(), trouble.Connecting("connection for consuming")
        while not self._ending:
            try:
                with pika.BlockingConnection(self._parameters) as connection:
                    self._connection = connection
                    self._serve(connection, backoff, told)
            except trouble.LOST as error:
                why = trouble.explained(self._parameters, error)
                if not self.ready.is_set():
                    raise why from error
                told.lost(why)
            finally:
                self._lose()
            until = time.monotonic() + backoff.next()
            while not self._ending and time.monotonic() < until:
                time.sleep(0.05)
        self._pool.shutdown()
        if self.ready.is_set():
            self._publisher.close()

    # The thread that serves the connection.

    def _serve(self, connection, backoff, told):
        channel = connection.channel()
        wire.declare_exchanges(channel, self._names)
        self._listen(channel)
        # One more than there are slots, of each priority, so that the next one is at hand.
        channel.basic_qos(prefetch_count=self._slots + 1)
        cancelled = []
        channel.add_on_cancel_callback(cancelled.append)
        tags = []
        for name in self._offers:
            wire.declare_queue(channel, self._names, name)
            for priority in wire.PRIORITIES:
                taken = functools.partial(self._take, name, priority)
                tags.append(channel.basic_consume(self._names.work(name, priority), taken))
        backoff.reset()
        told.back()
        if not self.ready.is_set():
            self._publisher.start()
        self.ready.set()
        log.info("serving %s", ", ".join(sorted(self._offers)))
        while channel.is_open and not cancelled and not self._ending:
            self._settle(channel)
            self._begin()
            connection.process_data_events(time_limit=1)
        if not self._ending:
            raise trouble.Unreachable("a queue or the channel has gone")
        for tag in tags:
            channel.basic_cancel(tag)
        for delivery in (d for waiting in self._waiting.values() for d in waiting):
            channel.basic_nack(delivery.tag, requeue=True)
        while self._running or not self._settled.empty():
            self._settle(channel)
            connection.process_data_events(time_limit=0.1)

    def _listen(self, channel):
        """Hears what coordinators want stopped."""
        own = channel.queue_declare("", exclusive=True, auto_delete=True).method.queue
        for fanout in self._names.fanout:
            channel.queue_bind(own, fanout, "control")
        channel.basic_consume(own, self._control, auto_ack=True)

    def _control(self, _channel, _method, _properties, body):
        for name in self._stops.obey(body):
            for attempt in list(self._running.values()):
                if attempt.name == name:
                    attempt.stop("cancelled")

    def _take(self, name, priority, channel, method, properties, body):
        headers = properties.headers or {}
        counted = headers.get("x-delivery-count", int(method.redelivered))
        before = _count(counted) + _count(headers.get("coditect-bus-redeliveries"))
        delivery = Delivery(channel, method.delivery_tag, name, priority, properties, body, before)
        self._waiting[priority].append(delivery)

    def _begin(self):
        """Gives what waits to free slots, by turns."""
        while len(self._running) < self._slots and any(self._waiting.values()):
            owner = wire.TURNS[self._turn]
            self._turn = (self._turn + 1) % len(wire.TURNS)
            if not self._waiting[owner]:
                owner = next(priority for priority in wire.PRIORITIES if self._waiting[priority])
            delivery = self._waiting[owner].popleft()
            attempt = self._running[delivery] = Attempt()
            self._pool.submit(self._work, delivery, attempt)

    def _settle(self, channel):
        """Tells the broker what handlers' threads have left to tell."""
        while not self._settled.empty():
            delivery, verdict = self._settled.get()
            self._running.pop(delivery, None)
            if delivery.channel is not channel:
                continue  # It was lost, and is delivered again.
            if verdict == "ack":
                channel.basic_ack(delivery.tag)
            else:
                channel.basic_reject(delivery.tag, requeue=True)

    def _lose(self):
        """All that was delivered belongs to somebody else now."""
        for attempt in list(self._running.values()):
            attempt.stop("lost")
        for waiting in self._waiting.values():
            waiting.clear()

    # The threads of handlers.

    def _work(self, delivery, attempt):
        verdict = "nack"
        try:
            verdict = self._handle(delivery, attempt)
        except Exception:
            log.exception("a delivery of %s is given back", delivery.queue)
        finally:
            attempt.close()
            self._settled.put((delivery, verdict))
            try:
                self._connection.add_callback_threadsafe(lambda: None)
            except AMQPError:
                pass  # It is lost; the next one looks at what is settled.

    def _handle(self, delivery, attempt):
        kind = delivery.header("coditect-kind")
        if kind not in ("task", "request"):
            return self._set_aside(delivery, "rejected", f"{kind!r} does not belong into this queue")
        if delivery.expired():
            return self._set_aside(delivery, "expired")
        name, version, handler = self._offers[delivery.queue]
        try:
            task = Task(delivery, attempt, self._tell)
            answer_to = self._names.work(task.reply_to)
            if len(answer_to) > 255:
                raise Malformed("the reply-to is no name")
            meets = task.requirement is None or wire.Requirement(task.requirement).meets(version)
        except (Malformed, ValueError) as error:
            log.warning("an unreadable %s was set aside: %s", kind, error)
            return self._set_aside(delivery, "rejected", str(error))
        if self._stops.stopped(attempt.name):
            return "ack"
        if not meets:
            return self._pass_on(delivery)
        if task.deadline and task.deadline <= time.time():
            return "ack"  # Whoever published it ends it by itself.
        outcome = attempt.run(handler, task, delivery.body)
        if outcome is None:
            return "nack"
        if kind == "task":
            return self._told(answer_to, wire.properties("outcome"), task.outcome(outcome), delivery)
        reply = wire.properties("reply", correlation_id=delivery.properties.correlation_id)
        try:
            self._publisher.publish(self._names.direct, answer_to, reply, encode(outcome), 5, 0)
        except (AMQPError, futures.TimeoutError):
            log.debug("nobody waits for an answer any more")
        return "ack"

    def _told(self, to, properties, outcome, delivery):
        """Publishes an outcome; only what is confirmed is acknowledged."""
        try:
            self._publisher.publish(self._names.direct, to, properties, encode(outcome))
            return "ack"
        except UnroutableError:
            return self._set_aside(delivery, "rejected", "nobody takes its outcome")
        except (AMQPError, futures.TimeoutError) as error:
            log.warning("an outcome was not confirmed; its task is given back: %r", error)
            return "nack"

    def _set_aside(self, delivery, reason, words=None):
        """Makes a dead letter of a delivery, with the reason."""
        now = int(time.time() * 1_000_000)
        first = (delivery.properties.headers or {}).get("coditect-bus-first-failed-at", now)
        headers = {
            "coditect-bus-redeliveries": delivery.before,
            "coditect-bus-first-failed-at": first,
            "coditect-bus-dead-reason": reason,
            "coditect-bus-dead-deliveries": delivery.before + (reason == "rejected"),
            "coditect-bus-dead-at": now,
        }
        if words is not None:
            headers["coditect-bus-dead-words"] = words
        dead = self._names.dead_of(delivery.queue)
        self._publisher.publish("", dead, wire.copied(delivery.properties, headers), delivery.body)
        return "ack"

    def _pass_on(self, delivery):
        """Leaves a delivery to an agent of another version, after a while that grows from round to round."""
        rounds = delivery.header("coditect-rounds")
        rounds = int(rounds) if rounds and rounds.isdecimal() else 0
        millis = wire.tier(min(50 * 2 ** min(rounds // 4, 10), 5000))
        headers = {"coditect-rounds": str(rounds + 1)}
        properties = wire.copied(delivery.properties, headers)

        def job(channel):
            wait = wire.declare_wait(channel, self._names, delivery.queue, delivery.priority, millis)
            channel.basic_publish("", wait, delivery.body, properties, mandatory=True)

        self._publisher.call(job)
        return "ack"

    def _tell(self, run, progress):
        """Reports progress, if that works at once."""
        key, properties = f"progress.{run}", wire.properties("progress")

        def job(channel):
            channel.basic_publish(self._names.topic[1], key, encode(progress), properties)

        try:
            self._publisher.call(job, 1)
        except (AMQPError, futures.TimeoutError):
            pass


def encode(body):
    return json.dumps(body, allow_nan=False).encode()


def _count(value):
    return max(0, value) if isinstance(value, int) else 0
