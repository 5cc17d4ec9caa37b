"""Offers what the tests ask for: `worker.py URL [NAME]`, where NAME is told to who asks `whose`.

A line on standard input lets go what is held; its end is the end of the process.
"""

import logging
import os
import signal
import sys
import threading

from coditect import Agent, Failure, Plan, Refusal, Unreachable


released = threading.Event()


def end_with_the_test():
    for _ in sys.stdin:
        released.set()
    os._exit(3)


def say(*words):
    # In one piece: handlers speak at the same time.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


threading.Thread(target=end_with_the_test, daemon=True).start()
logging.basicConfig(level=logging.WARNING)
logging.getLogger("pika").setLevel(logging.CRITICAL)
url, name = sys.argv[1], (sys.argv[2:] or ["one"])[0]
agent = Agent(url, slots=2)


@agent.offer("double", "1.4.2")
def double(_task, x):
    return 2 * x


@agent.offer("flaky")
def flaky(task, x):
    if task.attempt == 1:
        raise Failure("not now", retry_after=0.01) from OSError("429 Too Many Requests")
    return [x, task.attempt, task.idempotency_key == f"{task.run}/{task.task}"]


@agent.offer("rotten")
def rotten(_task, _x):
    raise Failure("rotten", kind="permanent")


@agent.offer("broken")
def broken(_task, x):
    return x["there is no such key"]


@agent.offer("linger")
def linger(task, _x):
    say("lingers", task.attempt)
    # Again and again: one that nobody hears yet is lost.
    while not task.stopped.wait(0.2):
        task.progress(0.5, "half way")
    say("stopped")
    task.check()


@agent.offer("whose")
def whose(task, held):
    say("has", task.attempt)
    while held == name and not released.is_set() and not task.stopped.wait(0.05):
        pass
    return name


@agent.offer("split")
def split(_task, numbers):
    inputs = [{"key": f"n{n}", "call": 0, "input": {"value": n}} for n in numbers]
    total = {"key": "all", "call": 1, "input": {"list": [{"task": n} for n in range(len(inputs))]}}
    return Plan(
        calls=["double@^1.2", "total"],
        settings=[],
        tasks=[*inputs, total],
        result={"output": {"task": len(inputs)}},
    )


@agent.offer("large")
def large(_task, size):
    return "x" * size


signal.signal(signal.SIGTERM, lambda *_: agent.stop())


def tell_when_ready():
    agent.ready.wait()
    say("ready")


threading.Thread(target=tell_when_ready, daemon=True).start()
try:
    agent.run()
except (Refusal, Unreachable) as error:
    sys.exit(f"error: {error}")
say("ended")
