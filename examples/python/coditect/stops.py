"""What coordinators want stopped: also what has not begun yet, and from owners that have not been replaced."""

import collections
import json
import logging
import threading
import time

log = logging.getLogger("coditect")


class Stops:
    """Remembers attempts that are not to begin, by the queue that their outcomes go to."""

    REMEMBERED = 10_000
    FENCED_FOR = 120.0
    OWNERS = 4_096

    def __init__(self):
        self._lock = threading.Lock()
        self._names = collections.OrderedDict()
        self._tokens = {}

    def stopped(self, name):
        with self._lock:
            return name in self._names

    def obey(self, body):
        """Reads a control message, and returns the attempts that it names."""
        try:
            control = json.loads(body)
            owner, token = str(control["owner"]), int(control["token"])
            stop = ((str(s["run"]), int(s["task"]), int(s["attempt"])) for s in control["stop"])
            names = [(owner, *attempt) for attempt in stop]
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            log.warning("an unreadable control message was dropped: %r", error)
            return []
        now = time.monotonic()
        with self._lock:
            newest, heard = self._tokens.get(owner, (token, now))
            if token < newest and now - heard < self.FENCED_FOR:
                return []
            if len(self._tokens) >= self.OWNERS:
                self._tokens.clear()
            self._tokens[owner] = (token, now)
            self._names.update(dict.fromkeys(names))
            while len(self._names) > self.REMEMBERED:
                self._names.popitem(last=False)
        return names
