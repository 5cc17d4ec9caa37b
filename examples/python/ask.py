"""Asks an agent: `python ask.py amqp://guest:guest@localhost:5672 count-words '"to be or not to be"'`.

Ends with 0 and the answer on standard output; with 1 if there is no answer; with 2 if what was given is wrong.
"""

import json
import logging
import sys

from coditect import Refusal, Refused, Unanswered, Unreachable, Unserved, ask

USAGE = "usage: ask.py amqp[s]://user:password@host:port/vhost CAPABILITY[@VERSION] INPUT, where INPUT is JSON"

# It tells of each trouble many times, with tracebacks; `coditect` tells of it once.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def main(arguments):
    if len(arguments) != 3:
        print(USAGE, file=sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    url, requirement, text = arguments
    try:
        given = json.loads(text)
    except ValueError as error:
        return told(f"the input is no JSON ({error}); a text is written as '\"text\"'", 2)
    try:
        # Flushed here, where it can still be told that it could not be written.
        print(json.dumps(ask(url, requirement, given)), flush=True)
    except (Refusal, ValueError) as error:
        return told(error, 2)
    except (Refused, Unanswered, Unreachable, Unserved) as error:
        return told(error, 1)
    except OSError as error:
        # It would be tried again at the end.
        sys.stdout = None
        return told(f"the answer cannot be written: {error.strerror}", 1)
    except KeyboardInterrupt:
        return 130
    return 0


def told(what, code):
    print(f"error: {what}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
