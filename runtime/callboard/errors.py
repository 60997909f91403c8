"""One tree of errors.

Each class builds its text from its arguments (what failed, the value, the rule, the way out) and keeps the
arguments as attributes. A standard class stands as second base where callers expect one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

__all__ = [
    "AccessDeniedError",
    "ActionNotFoundError",
    "ActorCrash",
    "AttemptsExhaustedError",
    "BrokerResponseException",
    "CallboardError",
    "ClosedError",
    "ConfigError",
    "ConnectionLostError",
    "ContentDecodeError",
    "ContentEncodeError",
    "DatabaseUnavailableError",
    "DeadlineExceededError",
    "DeclarationError",
    "DeliveriesExhaustedError",
    "HandlerTimeoutError",
    "HeaderError",
    "InvalidArgumentError",
    "MessageTooLargeError",
    "MessageTypeError",
    "MissingExtraError",
    "MixedDecoratorKindsError",
    "NoDeadLetterError",
    "NoHandlerError",
    "NoParamsError",
    "NoServerError",
    "NoStreamError",
    "NotEnoughMessagesError",
    "NotProvidedError",
    "PermissionDeniedError",
    "PoolExhaustedError",
    "PublishRefusedError",
    "PublishUnknownError",
    "RedefinedActionError",
    "RemoteError",
    "ReplayRefusedError",
    "ReplyContentError",
    "ReplyTopicError",
    "RequestTimeoutError",
    "RestartLimitExceeded",
    "SchemaVersionError",
    "StreamLostError",
    "SubstrateError",
    "TargetError",
    "TopicError",
    "TopologyError",
    "WorkerDiedError",
    "did_you_mean",
]


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """The hint `; did you mean 'x'?` for the nearest known name, or an empty string when none is near."""
    names = list(known)
    inside = [name for name in names if name.rpartition(".")[2] == value]  # right, but in another place
    near = inside[:1] or get_close_matches(value, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


class CallboardError(Exception):
    """Base of everything that Callboard raises on purpose."""


class ClosedError(CallboardError, RuntimeError):
    """A resource was used after its `destroy()`, or after the application had begun to stop."""

    def __init__(self, resource: str) -> None:
        self.resource = resource
        super().__init__(f"{resource} is closed; create a new one, or keep its 'async with' block open")


class ConfigError(CallboardError, ValueError):
    """A setting is unknown, missing or of the wrong type."""


class NotProvidedError(ConfigError):
    """Something that is built from others was not given one of them."""

    def __init__(self, who: str, what: str) -> None:
        self.who = who
        self.what = what
        super().__init__(
            f"{who} was built without a {what}; pass one, or leave it out so that the configured one is built"
        )


class DeclarationError(CallboardError, TypeError):
    """An actor, a handler or a supervisor was declared in a way that cannot work.

    Raised where the declaration stands (the class statement, the decorator), never at the first message.
    """

    def __init__(self, where: str, rule: str) -> None:
        self.where = where
        self.rule = rule
        super().__init__(f"{where}: {rule}")


class MixedDecoratorKindsError(DeclarationError):
    """One function carries decorators of more than one kind (command, query, event)."""


class RedefinedActionError(DeclarationError):
    """Two unicast handlers listen on the same or on overlapping topics."""


class ActionNotFoundError(CallboardError, LookupError):
    """No handler listens on a topic."""

    def __init__(self, topic: str, known: Iterable[str] = ()) -> None:
        self.topic = topic
        super().__init__(f"no handler for topic {topic!r}{did_you_mean(topic, known)}")


class NoParamsError(CallboardError, LookupError):
    """A broker request was asked for URL parameters, which only other kinds of request have."""

    def __init__(self) -> None:
        super().__init__("a broker request has no params; read its content instead")


class TargetError(CallboardError, ValueError):
    """A target of the command line cannot be imported or holds nothing to run."""

    def __init__(self, target: str, rule: str) -> None:
        self.target = target
        self.rule = rule
        super().__init__(f"target {target!r}: {rule}")


class InvalidArgumentError(CallboardError, ValueError):
    """Something was made, or called, with an argument that it cannot take."""


class MissingExtraError(CallboardError, ImportError):
    """A feature needs packages that are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        self.feature = feature
        self.extra = extra
        super().__init__(f"{feature} needs the extra {extra!r}: pip install 'callboard[{extra}]'")


# messages


class MessageTypeError(CallboardError, TypeError):
    """A part of a message has the wrong type."""

    def __init__(self, part: str, value: object, expected: str) -> None:
        self.part = part
        self.value = value
        self.expected = expected
        super().__init__(f"{part} must be {expected}, not {type(value).__name__} ({value!r:.100})")


class TopicError(CallboardError, ValueError):
    """A topic is not one that NATS and Callboard can carry."""

    def __init__(self, topic: str, rule: str) -> None:
        self.topic = topic
        self.rule = rule
        super().__init__(f"topic {topic!r:.120}: {rule}")


class HeaderError(CallboardError, ValueError):
    """A header's name or value cannot be sent as it is."""

    def __init__(self, name: str, rule: str) -> None:
        self.name = name
        self.rule = rule
        super().__init__(f"header {name!r:.120}: {rule}")


class MessageTooLargeError(CallboardError, ValueError):
    """Headers and body together exceed what the server accepts; nothing was sent."""

    def __init__(self, topic: str, size: int, limit: int) -> None:
        self.topic = topic
        self.size = size
        self.limit = limit
        super().__init__(
            f"message for {topic!r} has {size} bytes of headers and body, the limit is {limit} "
            "(the server's max_payload less 8 KiB); send a reference to the data, or raise max_payload"
        )


class ContentEncodeError(CallboardError, TypeError):
    """Content cannot be written in the message's content type."""

    def __init__(self, rule: str, *, path: str = "") -> None:
        self.rule = rule
        self.path = path
        super().__init__(f"content cannot be encoded{f' at {path}' if path else ''}: {rule}")


class ContentDecodeError(CallboardError, ValueError):
    """A body is not valid in its content type, or does not fit the type that a handler declared."""

    def __init__(self, rule: str, *, path: str = "") -> None:
        self.rule = rule
        self.path = path
        super().__init__(f"content does not fit{f' at {path}' if path else ''}: {rule}")


# the substrate: connection, server, cluster


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


# handling


class ReplyTopicError(TopicError):
    """A message asks for a reply where none may go."""


class BrokerResponseException(CallboardError):
    """A handler's refusal: the caller gets an error reply with this text and status, and the message is done.

    It is an answer, not a failure: the message is acknowledged, never retried, never dead-lettered.
    """

    def __init__(self, message: str = "", *, status: int = 400) -> None:
        self.message = message
        self.status = status
        super().__init__(message)


class ActorCrash(CallboardError):
    """Raised by a handler whose instance can no longer be trusted: the supervisor restarts the actor.

    The message that was being handled goes back to its mailbox without using up an attempt.
    """


class HandlerTimeoutError(CallboardError, TimeoutError):
    """A handler ran longer than its `timeout` and was cancelled."""

    def __init__(self, handler: str, seconds: float) -> None:
        self.handler = handler
        self.seconds = seconds
        super().__init__(f"{handler} did not finish within {seconds:g} s")


class WorkerDiedError(CallboardError):
    """The worker process died twice while it ran this message, the second time while it ran nothing else."""

    label = "worker_died"
    """The error type on its dead letter."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        super().__init__(f"{deaths} worker processes died while they ran this message, the last one ran nothing else")


class DeliveriesExhaustedError(CallboardError):
    """The server delivers a message no more, because an operator limited its durable's deliveries."""

    label = "MaxDeliveries"
    """The error type on its dead letter."""

    def __init__(self, deliveries: int) -> None:
        self.deliveries = deliveries
        super().__init__(f"the server delivers it no more after {deliveries} deliveries, the durable's limit")


class AttemptsExhaustedError(CallboardError):
    """A message comes again though all its attempts have failed: the last one outlived its lease, so it could not be
    given up then."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts
        super().__init__(f"{attempts} attempts have failed, the handler allows no more; the log has their reasons")


class DeadlineExceededError(CallboardError, TimeoutError):
    """A request was picked up after its caller had stopped waiting."""

    def __init__(self, topic: str, deadline: str) -> None:
        self.topic = topic
        self.deadline = deadline
        super().__init__(f"the deadline of this request to {topic!r} passed at {deadline}")


class RestartLimitExceeded(CallboardError):
    """A supervisor's children crashed more often than its restart intensity allows."""

    def __init__(self, supervisor: str, restarts: int, period: float) -> None:
        self.supervisor = supervisor
        self.restarts = restarts
        self.period = period
        super().__init__(f"{supervisor}: more than {restarts} restarts within {period:g} s")


# dead letters


class NoDeadLetterError(CallboardError, LookupError):
    """There is no dead letter with this sequence, or not any more: it was replayed or discarded."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        super().__init__(f"there is no dead letter {sequence} (any more); 'callboard dead list' shows what there is")


class ReplayRefusedError(CallboardError):
    """A dead letter cannot be replayed: nothing was published, and the letter stays."""

    def __init__(self, sequence: int, reason: str) -> None:
        self.sequence = sequence
        self.reason = reason
        super().__init__(f"dead letter {sequence} cannot be replayed: {reason}")


# requests


class RemoteError(CallboardError):
    """The handler of a request answered with an error.

    `status` is 4xx for a refusal and 5xx for a failure, `type` the remote exception's class name, `retryable`
    whether the same request may succeed later, `content` the whole content of the reply.
    """

    def __init__(
        self,
        topic: str,
        *,
        status: int,
        type: str = "",  # noqa: A002 - the wire's word
        message: str = "",
        retryable: bool = False,
        content: object = None,
    ) -> None:
        self.topic = topic
        self.content = content
        self.status = status
        self.type = type
        self.message = message
        self.retryable = retryable
        super().__init__(f"{topic!r} answered {status}{f' {type}' if type else ''}: {message}")


class RequestTimeoutError(CallboardError, TimeoutError):
    """No reply came in time. The request is stored and may have been handled, or may never be: unknown."""

    def __init__(self, topic: str, seconds: float) -> None:
        self.topic = topic
        self.seconds = seconds
        super().__init__(f"no reply from {topic!r} within {seconds:g} s; the outcome is unknown")


class NotEnoughMessagesError(CallboardError, TimeoutError):
    """Fewer messages arrived in time than were asked for. Those that did are in `messages`, in order."""

    def __init__(self, topic: str, count: int, messages: Sequence[object], seconds: float) -> None:
        self.topic = topic
        self.count = count
        self.messages = list(messages)
        self.seconds = seconds
        super().__init__(f"{len(self.messages)} of {count} messages arrived on {topic!r} within {seconds:g} s")


class PoolExhaustedError(CallboardError, TimeoutError):
    """All clients of a pool were borrowed, and none came back in time."""

    def __init__(self, maxsize: int, seconds: float) -> None:
        self.maxsize = maxsize
        self.seconds = seconds
        super().__init__(
            f"all {maxsize} clients of the pool are borrowed and none came back within {seconds:g} s; "
            "release them sooner, or give the pool a larger maxsize"
        )


class ReplyContentError(CallboardError, ValueError):
    """A reply arrived, but its content does not fit the type that the caller expects."""

    def __init__(self, topic: str, problem: str) -> None:
        self.topic = topic
        self.problem = problem
        super().__init__(f"the reply from {topic!r} is not what 'returns' says: {problem}")
