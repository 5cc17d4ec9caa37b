"""Asks an agent: `python ask.py amqp://guest:guest@localhost:5672 count-words '"to be or not to be"'`."""

import json
import sys

from coditect import ask

url, requirement, given = sys.argv[1:]
print(json.dumps(ask(url, requirement, json.loads(given))))
