"""One attempt of a task, or one request: what its handler is told, how it is stopped, how it ends."""

import json
import threading
import time

from . import wire


class Malformed(Exception):
    """A message that nobody can do anything about."""


class Failure(Exception):
    """Raised by a handler: `error` may pass and is tried again, `permanent` and the others are not."""

    def __init__(self, message, kind="error", retry_after=None):
        super().__init__(message)
        self.kind, self.retry_after = kind, retry_after


class Stopped(Exception):
    """Raised by `Task.check` when the handler should end."""


class Plan(dict):
    """Answered by a handler: tasks that run in the place of its own."""


class Attempt:
    """What can be done to a handler from outside: it is asked to stop, and why."""

    def __init__(self):
        self.name = None
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._reason = None
        self._timers = []

    def stop(self, reason):
        with self._lock:
            self._reason = self._reason or reason
        self.stopped.set()

    def close(self):
        for timer in self._timers:
            timer.cancel()

    def run(self, handler, task, body):
        """Returns the outcome; `None` if the delivery was lost, and with it the right to have one."""
        for seconds, reason in task.limits():
            timer = threading.Timer(max(0, seconds), self.stop, (reason,))
            timer.daemon = True
            timer.start()
            self._timers.append(timer)
        outcome = _called(handler, task, body)
        if self._reason == "lost":
            return None
        if self._reason in ("timeout", "deadline_exceeded"):
            return failure(self._reason, "it took too long")
        if self._reason == "cancelled" and "failure" in outcome:
            return failure("cancelled", "it was told to stop")
        return outcome


def failure(kind, message, retry_after=None, chain=()):
    told = {"kind": kind, "message": message}
    if chain:
        told["chain"] = list(chain)
    outcome = {"failure": told}
    if retry_after is not None:
        outcome["retry_after_ms"] = round(retry_after * 1000)
    return {"failure": outcome}


def _called(handler, task, body):
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        return failure("invalid_input", f"the input is no JSON: {error}")
    try:
        answer = handler(task, given)
    except Failure as error:
        return failure(error.kind, str(error), error.retry_after, _causes(error))
    except Exception as error:
        return failure("error", f"{type(error).__name__}: {error}", None, _causes(error))
    except BaseException as error:
        return failure("panic", repr(error))
    try:
        size = len(json.dumps(answer, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        return failure("permanent", f"the answer is no JSON: {error}")
    if size > wire.MAX_PAYLOAD:
        return failure("too_large", f"an answer of {size} bytes is over the limit of {wire.MAX_PAYLOAD}")
    return {"plan" if isinstance(answer, Plan) else "output": answer}


def _causes(error):
    while error := error.__cause__ or error.__context__:
        yield f"{type(error).__name__}: {error}"


class Task:
    """What a handler knows about its task. A request is one that belongs to no run."""

    def __init__(self, delivery, attempt, tell):
        self._attempt, self._tell = attempt, tell
        self.reply_to = delivery.properties.reply_to
        if not self.reply_to:
            raise Malformed("it does not say where to reply to")
        self.requirement = delivery.header("coditect-requirement")
        self.traceparent = delivery.header("traceparent")
        self.timeout = self.deadline = self.run = None
        if delivery.header("coditect-kind") == "request":
            self.deadline = delivery.expires_at()
            return
        needed = ("run", "task", "attempt", "key", "tenant", "requirement")
        missing = [name for name in needed if delivery.header(f"coditect-{name}") is None]
        if missing:
            raise Malformed(f"it has no header `coditect-{missing[0]}`")
        self.run, self.key = delivery.header("coditect-run"), delivery.header("coditect-key")
        self.tenant = delivery.header("coditect-tenant")
        self.task, self.attempt = _number(delivery, "task"), _number(delivery, "attempt")
        timeout, deadline = _number(delivery, "timeout-ms"), _number(delivery, "deadline-ms")
        self.timeout = None if timeout is None else timeout / 1000
        self.deadline = None if deadline is None else deadline / 1000
        # The same for all attempts: what is done outside is made harmless with it.
        self.idempotency_key = delivery.header("coditect-bus-idempotency-key")
        attempt.name = (self.reply_to, self.run, self.task, self.attempt)

    @property
    def stopped(self):
        """An event: set when the handler should end."""
        return self._attempt.stopped

    def check(self):
        """Raises `Stopped` when the handler should end."""
        if self._attempt.stopped.is_set():
            raise Stopped

    def progress(self, fraction, message=""):
        """Tells those who follow the run how far this is; a hint, which may be lost."""
        if self.run is not None:
            named = {"run": self.run, "task": self.task, "attempt": self.attempt}
            self._tell(self.run, {**named, "fraction": fraction, "message": message})

    def limits(self):
        """After how many seconds it is to stop, and why."""
        if self.timeout is not None and self.timeout < threading.TIMEOUT_MAX:
            yield self.timeout, "timeout"
        if self.deadline is not None and self.deadline < threading.TIMEOUT_MAX:
            yield self.deadline - time.time(), "deadline_exceeded"

    def outcome(self, ended):
        return {"run": self.run, "task": self.task, "attempt": self.attempt, "outcome": ended}


def _number(delivery, name):
    text = delivery.header(f"coditect-{name}")
    try:
        return None if text is None else int(text)
    except ValueError:
        raise Malformed(f"its header `coditect-{name}` is no number") from None
