"""An agent that counts words: `python agent.py amqp://guest:guest@localhost:5672`.

Ends with 0 after Ctrl-C, with 1 if no broker is there, with 2 if the address or the login is wrong.
"""

import logging
import signal
import sys

from coditect import Agent, Failure, Refusal, Unreachable

USAGE = "usage: agent.py [amqp[s]://user:password@host:port/vhost]"

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
# It tells of each trouble many times, with tracebacks; `coditect` tells of it once.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def count_words(_task, text):
    if not isinstance(text, str):
        raise Failure("a text is wanted", kind="invalid_input")
    return len(text.split())


def serve(url):
    agent = Agent(url)
    agent.offer("count-words", "1.0.0")(count_words)

    def end(number, _frame):
        agent.stop()
        # The next one ends it at once.
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    agent.run()


def main(arguments):
    if len(arguments) > 1 or any(it.startswith("-") for it in arguments):
        print(USAGE, file=sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        serve(arguments[0] if arguments else "amqp://guest:guest@localhost:5672")
    except (Refusal, Unreachable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, Refusal) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
