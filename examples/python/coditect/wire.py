"""Names, arguments, headers and properties, as docs/wire.md has them. Nothing here talks to anybody."""

import operator
import re
import time
import uuid

import pika

PRIORITIES = (0, 1, 2)
# Who is served: urgent work first, and none starves.
TURNS = (0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 2)
MAX_PAYLOAD = 1024 * 1024


class Names:
    """What exchanges and queues are called under a namespace."""

    def __init__(self, namespace="coditect"):
        self.namespace = namespace
        self.direct = self._name("direct")
        self.dead = self._name("dead")
        self.topic = [self._name(f"topic.p{p}") for p in PRIORITIES]
        self.fanout = [self._name(f"fanout.p{p}") for p in PRIORITIES]

    def _name(self, what):
        return f"{self.namespace}.{what}.v1"

    def work(self, queue, priority=1):
        return self._name(f"{queue}.p{priority}")

    def dead_of(self, queue):
        return self._name(f"{queue}.dead")

    def wait_of(self, queue, priority, millis):
        return self._name(f"{queue}.p{priority}.wait{millis}")


def declare_exchanges(channel, names):
    kinds = {names.direct: "direct", names.dead: "direct"}
    kinds.update(dict.fromkeys(names.topic, "topic"))
    kinds.update(dict.fromkeys(names.fanout, "direct"))
    for name, kind in kinds.items():
        channel.exchange_declare(name, kind, durable=True)


def declare_queue(channel, names, queue):
    """Declares a queue of the bus: one queue of the broker for each priority, and one for the dead letters."""
    obituary = f"{queue}#durable.100000.reject.d100"
    work = {
        "x-queue-type": "quorum",
        "x-max-length": 100_000,
        "x-overflow": "reject-publish",
        "x-delivery-limit": 99,
        "x-dead-letter-exchange": names.dead,
        "x-dead-letter-routing-key": obituary,
        "x-dead-letter-strategy": "at-least-once",
    }
    dead = {
        "x-queue-type": "quorum",
        "x-max-length": 50_000,
        "x-overflow": "drop-head",
        "x-delivery-limit": 1_000_000_000,
    }
    for priority in PRIORITIES:
        channel.queue_declare(names.work(queue, priority), durable=True, arguments=work)
    channel.queue_declare(names.dead_of(queue), durable=True, arguments=dead)
    channel.queue_bind(names.dead_of(queue), names.dead, obituary)
    for priority in PRIORITIES:
        name = names.work(queue, priority)
        channel.queue_bind(name, names.direct, name)


def declare_wait(channel, names, queue, priority, millis):
    """Declares the queue in which messages spend a delay, and returns its name."""
    name = names.wait_of(queue, priority, millis)
    arguments = {
        "x-queue-type": "quorum",
        "x-message-ttl": millis,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": names.direct,
        "x-dead-letter-routing-key": names.work(queue, priority),
        "x-dead-letter-strategy": "at-least-once",
    }
    channel.queue_declare(name, durable=True, arguments=arguments)
    return name


def tier(millis):
    """Rounds a delay up, so that few queues serve all delays."""
    millis = max(1, millis)
    step = max(1, (1 << (millis - 1).bit_length()) // 8)
    return -(-millis // step) * step


def properties(kind, headers=None, *, patience=None, **others):
    """The properties of a message that is made here; `patience` is after how many seconds it expires."""
    headers = {"coditect-kind": kind, **(headers or {})}
    if patience is not None:
        headers["coditect-bus-expires-at"] = int((time.time() + patience) * 1_000_000)
        others["expiration"] = str(max(1, round(patience * 1000)))
    return pika.BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        message_id=str(uuid.uuid4()),
        priority=1,
        headers=headers,
        **others,
    )


def copied(original, headers):
    """The properties of a message that takes the place of another one. What the broker noted of that is left behind."""
    kept = {name: value for name, value in (original.headers or {}).items() if not name.startswith("x-")}
    return pika.BasicProperties(
        content_type=original.content_type,
        delivery_mode=2,
        message_id=original.message_id,
        correlation_id=original.correlation_id,
        reply_to=original.reply_to,
        priority=original.priority,
        headers={**kept, **headers},
    )


def line(version):
    """The part of a version that semantic versioning holds compatible."""
    major, minor, patch = version
    if major:
        return f"{major}"
    return f"0.{minor}" if minor else f"0.0.{patch}"


def queue_of(capability, version):
    return f"capability.{capability}.v{line(version)}"


def parse(text):
    """Reads `1.4.2`; of `1.4` or `1.*` what is missing is left out."""
    return tuple(int(part) for part in text.split(".") if part != "*")


_COMPARED = {">=": operator.ge, "<": operator.lt, ">": operator.gt, "<=": operator.le}
_PART = re.compile(r"\s*(>=|<=|[\^~=<>])?\s*(\d+(?:\.(?:\d+|\*)){0,2}|\*)\s*")


class Requirement:
    """`summarize`, or `summarize@^1.2`: a capability and the versions that will do. Knows no pre-releases."""

    def __init__(self, text):
        self.name, _, versions = text.partition("@")
        self.parts = []
        for part in versions.split(",") if versions else []:
            match = _PART.fullmatch(part)
            if not match:
                raise ValueError(f"{text!r} is no requirement")
            sign = match[1] or ("=" if "*" in match[2] else "^")
            self.parts.append((sign, parse(match[2])))

    def meets(self, version):
        return all(_holds(sign, wanted, version) for sign, wanted in self.parts)

    def queue(self):
        """Where an agent that meets it is looked for while none is known."""
        first = self.parts[0][1] if self.parts else ()
        return queue_of(self.name, (first + (0, 0))[:3] if first else (1, 0, 0))


def _holds(sign, wanted, version):
    cut = version[: len(wanted)]
    if sign in _COMPARED:
        return _COMPARED[sign](cut, wanted)
    if sign == "=":
        return cut == wanted
    # What may not change: for `~` all but the patch, for `^` all up to the first number that is not zero.
    fixed = 2 if sign == "~" else next((at for at, n in enumerate(wanted, 1) if n), len(wanted))
    return cut >= wanted and cut[:fixed] == wanted[:fixed]
