"""CODITECT for agents in Python, on RabbitMQ: an example of what docs/wire.md asks of any language."""

from .agent import Agent, Failure, Plan, Stopped, Task
from .request import Refused, Unserved, ask

__all__ = ["Agent", "Failure", "Plan", "Refused", "Stopped", "Task", "Unserved", "ask"]
