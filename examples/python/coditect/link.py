"""Connections: made again when they break, and one of them to publish on, served by a thread of its own."""

import queue
import random
import threading
import time
from concurrent import futures

import pika
from pika.exceptions import AMQPError, ChannelClosed, NackError, UnroutableError

from . import trouble


def parameters(url):
    """Reads a URL; heartbeats find a broker that is silent, and one that blocks publishers is not waited for."""
    parameters = trouble.read(url)
    parameters.heartbeat = 10
    parameters.blocked_connection_timeout = 30
    parameters.socket_timeout = 10
    parameters.stack_timeout = 10
    return parameters


class Backoff:
    """How long to wait between attempts to connect: growing, partly random, bounded."""

    def __init__(self):
        self.reset()

    def reset(self):
        self._wait = 0.1

    def next(self):
        wait, self._wait = self._wait, min(self._wait * 2, 5.0)
        return wait * random.uniform(0.5, 1.0)


class Publisher(threading.Thread):
    """Publishes for all threads. The broker may block this connection; acknowledgements go by another one."""

    def __init__(self, url):
        super().__init__(name="publisher", daemon=True)
        self._parameters = parameters(url)
        self._jobs = queue.SimpleQueue()
        self._connection = None
        self._ending = threading.Event()

    def publish(self, exchange, key, properties, body, patience=30.0, patience_unroutable=5.0):
        """Publishes until the broker has confirmed it. Raises `UnroutableError` if nothing receives there."""
        start, pause = time.monotonic(), 0.05

        def job(channel):
            channel.basic_publish(exchange, key, body, properties, mandatory=True)

        while True:
            try:
                return self.call(job, patience)
            except (AMQPError, futures.TimeoutError) as error:
                unroutable = isinstance(error, UnroutableError)
                left = start + (patience_unroutable if unroutable else patience) - time.monotonic()
                if left <= pause:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, 0.5)

    def call(self, job, patience=30.0):
        """Has the thread do something with its channel, and returns what comes of it."""
        future = futures.Future()
        self._jobs.put((future, job))
        self._wake()
        try:
            return future.result(patience)
        except futures.TimeoutError:
            future.cancel()
            raise

    def close(self):
        """Ends when everything that waits is published."""
        self._ending.set()
        self._wake()
        self.join(10)

    def _wake(self):
        connection = self._connection
        try:
            if connection:
                connection.add_callback_threadsafe(lambda: None)
        except AMQPError:
            pass  # It is being made anew, and looks at the jobs then.

    def run(self):
        backoff, told = Backoff(), trouble.Connecting("connection for publishing")
        while not self._ending.is_set():
            try:
                with pika.BlockingConnection(self._parameters) as connection:
                    channel = connection.channel()
                    channel.confirm_delivery()
                    self._connection = connection
                    backoff.reset()
                    told.back()
                    while not self._ending.is_set():
                        self._work(channel)
                        connection.process_data_events(time_limit=1)
                    self._work(channel)
            except trouble.LOST as error:
                told.lost(trouble.explained(self._parameters, error))
                self._ending.wait(backoff.next())

    def _work(self, channel):
        while True:
            try:
                future, job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job(channel))
            except (UnroutableError, NackError) as error:
                future.set_exception(error)
            except (AMQPError, ChannelClosed, OSError) as error:
                future.set_exception(error)
                raise
            except Exception as error:
                future.set_exception(error)
