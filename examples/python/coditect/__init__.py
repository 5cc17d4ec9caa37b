"""CODITECT for agents in Python, on RabbitMQ: an example of what docs/wire.md asks of any language."""

from .agent import Agent, Failure, Plan, Stopped, Task
from .request import Refused, Unanswered, Unserved, ask
from .trouble import Refusal, Unreachable

__all__ = [
    "Agent",
    "Failure",
    "Plan",
    "Refusal",
    "Refused",
    "Stopped",
    "Task",
    "Unanswered",
    "Unreachable",
    "Unserved",
    "ask",
]
