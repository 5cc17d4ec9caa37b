"""Why there is no connection, in one line for people: what is wrong, and what to do about it."""

import logging
import socket
import ssl

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

log = logging.getLogger("coditect")


class Unreachable(Exception):
    """No broker answers there now; one may later."""


class Refusal(Exception):
    """It will never work as it stands: somebody has to change the address, the login or the permissions."""


# What connecting ends with, and what a connection that breaks ends with.
LOST = (AMQPError, AMQPConnectorException, OSError, Unreachable)


def explained(parameters, error):
    """Makes an `Unreachable` or a `Refusal` of what a connection ended with. Shows no password."""
    if isinstance(error, Unreachable):
        return error
    at = f"{parameters.host}:{parameters.port}"
    user = getattr(parameters.credentials, "username", None)
    text = repr(error)
    if isinstance(error, ProbableAuthenticationError) or "Login was refused" in text:
        return Refusal(f"the broker at {at} refuses the login of user {user!r}: correct user and password in the URL")
    if isinstance(error, ProbableAccessDeniedError):
        vhost = parameters.virtual_host
        return Refusal(
            f"the virtual host {vhost!r} at {at} does not exist or is closed to user {user!r}: "
            "correct the URL, or see `rabbitmqctl add_vhost` and `set_permissions`"
        )
    if isinstance(error, ChannelClosedByBroker) and error.reply_code == 403:
        return Refusal(
            f"the broker at {at} denies user {user!r} a permission: {error.reply_text}; docs/operations.md has those that are needed"
        )
    if isinstance(error, ChannelClosedByBroker) and "inequivalent arg" in error.reply_text:
        return Refusal(f"the broker at {at} has it with other arguments: {error.reply_text}; use another namespace")
    if isinstance(error, (ChannelClosedByBroker, ConnectionClosedByBroker)):
        return Unreachable(f"the broker at {at} closed what was open: {error.reply_text}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refusal(f"the certificate of {at} is not trusted: {error.verify_message}")
    if "WRONG_VERSION_NUMBER" in text:
        return Refusal(f"what listens at {at} does not speak TLS: write amqp:// and its port, or switch TLS on there")
    if isinstance(error, socket.gaierror):
        return Unreachable(f"the host {parameters.host!r} is not known: correct the URL, or look at the name service")
    if "StackTimeout" in text:
        return Unreachable(f"what listens at {at} does not answer as a broker would: is it RabbitMQ, and its AMQP port?")
    if "IncompatibleProtocol" in text:
        return Unreachable(f"what listens at {at} broke off: is it RabbitMQ, its AMQP port, and amqps:// where it wants TLS?")
    if "StreamLost" in text or isinstance(error, ConnectionResetError):
        return Unreachable(f"the connection to the broker at {at} broke")
    return Unreachable(f"no broker answers at {at}: is it running, and can this machine reach it?")


def read(url):
    """Reads the address of a broker; raises `Refusal` if it is none."""
    form = Refusal("the address must be amqp[s]://user:password@host:port/vhost, special characters as %XX")
    if not url.startswith(("amqp://", "amqps://")):
        raise form
    try:
        parameters = pika.URLParameters(url)
        # A port that is no number shows only when it is looked at.
        return parameters if parameters.port else None
    except Exception:
        # Their words may repeat the password.
        raise form from None


class Connecting:
    """Tells of a connection that breaks when it breaks, and not with each attempt to make it again."""

    def __init__(self, what):
        self._what, self._told = what, None

    def lost(self, why):
        if str(why) != self._told:
            log.warning("%s: %s; trying again until it works", self._what, why)
            self._told = str(why)

    def back(self):
        if self._told is not None:
            log.warning("%s: connected again", self._what)
            self._told = None
