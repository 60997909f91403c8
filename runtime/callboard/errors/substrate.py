"""What the runtime stands on is away, or refuses."""

from __future__ import annotations

from callboard.errors.base import CallboardError

__all__ = [
    "AccessDeniedError",
    "ConnectionLostError",
    "DatabaseUnavailableError",
    "NoHandlerError",
    "NoServerError",
    "NoStreamError",
    "PermissionDeniedError",
    "PublishRefusedError",
    "PublishUnknownError",
    "SchemaVersionError",
    "StreamLostError",
    "SubstrateError",
    "TopologyError",
]


class SubstrateError(CallboardError):
    """The message system itself is not available. Never the fault of a message or an actor: it costs no
    attempt and no restart."""


class NoServerError(SubstrateError, ConnectionError):
    """No server answered at the given addresses, or none that we trust."""

    def __init__(self, servers: str, reason: str) -> None:
        self.servers = servers
        self.reason = reason
        super().__init__(f"no NATS server at {servers} ({reason}); {_reach(reason)}")


def _reach(reason: str) -> str:
    """What to do where no server is found."""
    if "certificate verify failed" in reason:
        return "name the file of who signed its certificate in 'nats.tls.ca', or the name in it in 'nats.tls.hostname'"
    if "does not encrypt" in reason:
        return "enable TLS on the server, or leave out 'tls://' and 'nats.tls'"
    return (
        "start one with 'nats-server -js', let 'callboard run TARGET --embedded' bring its own, or name yours with "
        "--nats or NATS_URL"
    )


class AccessDeniedError(SubstrateError, PermissionError):
    """A server answered, and does not let us in with these credentials."""

    def __init__(self, servers: str, who: str, reason: str) -> None:
        self.servers = servers
        self.who = who
        self.reason = reason
        super().__init__(f"the NATS server at {servers} does not accept {who} ({reason})")


class ConnectionLostError(SubstrateError, ConnectionError):
    """The connection closed for good."""

    def __init__(self, servers: str, reason: str) -> None:
        self.servers = servers
        self.reason = reason
        super().__init__(f"the connection to {servers} is closed ({reason})")


class DatabaseUnavailableError(SubstrateError, ConnectionError):
    """The database of a queue or validator does not answer, or refused an operation for now."""

    def __init__(self, database: str, reason: str) -> None:
        self.database = database
        """Its URL without the password."""
        self.reason = reason
        super().__init__(
            f"the database {database} is not available ({reason}); what was to be stored may not be stored, "
            "storing it again is safe"
        )


class SchemaVersionError(CallboardError):
    """The database holds tables of a newer version of Callboard than this one."""

    def __init__(self, database: str, found: int, known: int) -> None:
        self.database = database
        self.found = found
        self.known = known
        super().__init__(
            f"the tables in {database} have version {found}, this version of Callboard knows {known}; "
            "install the newer Callboard here as well, or use another database"
        )


class PublishUnknownError(SubstrateError, TimeoutError):
    """No acknowledgement came in time: the message may or may not be stored.

    Sending the same message again is safe: its identifier makes the server keep one copy inside its
    duplicate window.
    """

    def __init__(self, topic: str, seconds: float, reason: str) -> None:
        self.topic = topic
        self.seconds = seconds
        self.reason = reason
        super().__init__(
            f"publish to {topic!r} was not acknowledged within {seconds:.1f} s ({reason}); outcome unknown"
        )


class PublishRefusedError(CallboardError):
    """The server said no: the message is not stored."""

    def __init__(self, topic: str, reason: str, *, code: int | None = None) -> None:
        self.topic = topic
        self.reason = reason
        self.code = code
        super().__init__(f"publish to {topic!r} was refused: {reason}")


class PermissionDeniedError(PublishRefusedError):
    """The account may not publish or subscribe there."""

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(topic, reason)
        self.args = (f"permission denied for {topic!r}: {reason}",)


class NoStreamError(PublishRefusedError, LookupError):
    """No stream holds the topic: nothing was published."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            topic,
            f"no stream holds the topic {topic!r}; start the service that handles it ('callboard run'), "
            "which creates the stream or says that it was lost",
        )


class NoHandlerError(PublishRefusedError, LookupError):
    """No service handles the topic as a command or query: nothing was published."""

    status = 404

    def __init__(self, topic: str) -> None:
        super().__init__(topic, f"no service handles {topic!r} as a command or query; nothing was published")


class TopologyError(CallboardError):
    """A stream or consumer on the server contradicts what the code declares."""

    def __init__(self, what: str, rule: str) -> None:
        self.what = what
        self.rule = rule
        super().__init__(f"{what}: {rule}")


class StreamLostError(TopologyError):
    """A stream that was there before is gone, with all that waited in it. Nothing creates it again by itself."""

    def __init__(self, stream: str, recorded: str, topic: str) -> None:
        self.stream = stream
        self.recorded = recorded
        """When it was first used."""
        self.topic = topic
        super().__init__(
            f"stream {stream!r}",
            f"held {topic!r} when it was recorded at {recorded}, and is missing now; restore it from a backup, or run "
            f"'callboard topology apply --recreate {stream}' to go on without what was in it",
        )
