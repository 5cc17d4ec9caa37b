"""An agent that counts words: `python agent.py amqp://guest:guest@localhost:5672`."""

import logging
import signal
import sys

from coditect import Agent, Failure

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
logging.getLogger("pika").setLevel(logging.WARNING)
agent = Agent(sys.argv[1] if len(sys.argv) > 1 else "amqp://guest:guest@localhost:5672")


@agent.offer("count-words", "1.0.0")
def count_words(_task, text):
    if not isinstance(text, str):
        raise Failure("a text is wanted", kind="invalid_input")
    return len(text.split())


for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: agent.stop())
agent.run()
