"""What the runtime tells about itself, and where trace headers come from.

The classes here are complete and do nothing but pass trace headers on, untouched: a flow keeps its trace even
through a process that has no telemetry. `callboard.telemetry` subclasses them with OpenTelemetry spans; the
system installs one instance and hands it down. Nothing here or there may raise into the runtime.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from contextvars import ContextVar, Token
from time import perf_counter
from typing import ClassVar, Protocol, TypeVar, cast
from uuid import UUID

from attrs import frozen

from callboard.statistics import Statistics

__all__ = [
    "NO_INSTRUMENTATION",
    "NO_SPAN",
    "TRACE_HEADERS",
    "Endpoint",
    "Incoming",
    "Instrumentation",
    "PassedOn",
    "Span",
    "trace_headers",
]

TRACE_HEADERS = ("traceparent", "tracestate", "baggage")
"""W3C Trace Context and Baggage: the only trace headers that are written."""

_INITIALS = "TtBbXx"
_NOTHING: Mapping[str, str] = {}
_Result = TypeVar("_Result")
_PASSED_ON: ContextVar[Mapping[str, str]] = ContextVar("callboard_passed_on_trace", default=_NOTHING)


@frozen(eq=False)
class Endpoint:
    """A handler as telemetry sees it; one object for the lifetime of a mailbox, so that attributes can be
    prepared once."""

    topic: str
    """Topic template (`airports.{code}.delay`): bounded, so it may name spans and metrics."""
    kind: str
    """`command`, `query` or `event`."""
    actor: str
    function: str
    """Name of the handler's code inside its module, as `Delays.delay`."""
    module: str = ""
    """Where that is."""


class Incoming(Protocol):
    """The facts of a delivery that a `process` span shows."""

    @property
    def topic(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]:
        """All headers as they arrived, the system's included."""
        ...

    @property
    def identifier(self) -> UUID: ...
    @property
    def stream(self) -> str: ...
    @property
    def durable(self) -> str:
        """The mailbox's durable consumer."""
        ...

    @property
    def sequence(self) -> int: ...
    @property
    def delivered(self) -> int:
        """How often the server has handed this message over, this time included."""
        ...

    @property
    def body_size(self) -> int: ...


class Span:
    """One operation in progress; this base records nothing. No method raises."""

    __slots__ = ()
    records: ClassVar = False
    """Whether somebody sees what is set here."""

    @property
    def carrier(self) -> Mapping[str, str]:
        """Trace headers of a message sent on behalf of this operation."""
        return _PASSED_ON.get()

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, or an empty string when no trace is known."""
        parts = self.carrier.get("traceparent", "").split("-")
        return parts[1] if len(parts) == 4 else ""

    def enter(self) -> object:
        """Make this the current operation; give the result to `leave` in a `finally`."""
        return None

    def leave(self, token: object) -> None:
        """End being current. The operation itself goes on until `end`."""

    def set(self, key: str, value: str | float | bool) -> None:  # noqa: FBT001 - an attribute's value
        """Add an attribute."""

    def event(self, name: str, attributes: Mapping[str, str | float | bool] | None = None) -> None:
        """Add a point in time."""

    def sent(self, message_id: str, stream: str = "", sequence: int = 0) -> None:
        """Say which message this operation sent: its `Nats-Msg-Id`, and where it is stored, if it is."""

    def link(self, carrier: Mapping[str, str]) -> None:
        """Point at the operation whose trace headers these are."""

    def fail(self, error_type: str, description: str = "") -> None:
        """Mark as failed: `error.type` and status ERROR."""

    def end(self) -> None:
        """Close the operation; later calls change nothing."""


class PassedOn(Span):
    """Carries trace headers through a process that records no spans."""

    __slots__ = ("_carrier",)

    def __init__(self, carrier: Mapping[str, str]) -> None:
        self._carrier = carrier

    @property
    def carrier(self) -> Mapping[str, str]:
        return self._carrier

    def enter(self) -> object:
        return _PASSED_ON.set(self._carrier)

    def leave(self, token: object) -> None:
        if isinstance(token, Token):
            _PASSED_ON.reset(cast("Token[Mapping[str, str]]", token))


NO_SPAN = Span()


def trace_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The W3C trace headers among `headers`, found in any case and written in lower case.

    Go clients send `Traceparent`; servers 2.11 to 2.13 with account tracing send `Xraceparent`. What could not be sent
    on (control characters, text that is no Unicode) counts as absent.
    """
    found: dict[str, str] = {}
    for name, value in headers.items():
        if name[:1] not in _INITIALS:  # most headers
            continue
        lower = name.lower()
        if lower in TRACE_HEADERS:
            if value.isprintable():
                found[lower] = value
        elif lower == "xraceparent" and value.isprintable():
            found.setdefault("traceparent", value)
    return found


class Instrumentation:
    """Starts the spans of the runtime's operations, and counts them. This base starts none and passes trace headers on;
    it counts, but knows no durations and no topics of what is sent.

    Source of the names: OpenTelemetry semantic conventions 1.44.0, messaging.
    """

    def __init__(self) -> None:
        self.statistics = Statistics()
        """What everything that this instance was handed to counts."""

    def declare(self, templates: Iterable[str]) -> None:
        """Name topics by these templates: those that this process handles and those that it declares to publish."""

    def publish(self, topic: str, identifier: UUID) -> Span:  # noqa: ARG002
        """`publish <topic>`, PRODUCER: from the call to the acknowledgement."""
        return NO_SPAN

    def create(self, topic: str, identifier: UUID) -> Span:  # noqa: ARG002
        """`create <topic>`, PRODUCER: a message is queued here and sent later; its context is what it carries."""
        return NO_SPAN

    def send(self, delivery: Incoming) -> Span:  # noqa: ARG002
        """`send <topic>`, CLIENT: a queued message goes out. Its parent is the message's creation context, never a
        span that happens to be current; the message itself keeps the context it was created in."""
        return NO_SPAN

    def request(self, topic: str, identifier: UUID) -> Span:  # noqa: ARG002
        """`request <topic>`, CLIENT: from publish to reply or timeout."""
        return NO_SPAN

    def process(self, endpoint: Endpoint, delivery: Incoming) -> Span:  # noqa: ARG002
        """`process <template>`, CONSUMER: one for each attempt, until the settlement call returned.

        Its parent is the message's creation context, never a span that happens to be current.
        """
        if not delivery.headers:
            return NO_SPAN
        carrier = trace_headers(delivery.headers)
        return PassedOn(carrier) if carrier else NO_SPAN

    def reply(self, endpoint: Endpoint, delivery: Incoming) -> Span:  # noqa: ARG002
        """`reply`, PRODUCER: the answer of a handler, under the current `process` span."""
        return NO_SPAN

    def dead_letter(self, endpoint: Endpoint, delivery: Incoming) -> Span:  # noqa: ARG002
        """`dead_letter <template>`, PRODUCER: under the current `process` span."""
        return NO_SPAN

    def restart(self, actor: str, carrier: Mapping[str, str]) -> Span:  # noqa: ARG002
        """`restart <actor>`, INTERNAL: under the attempt that caused it, whose trace headers are given."""
        return NO_SPAN

    async def sending(self, operation: str, topic: str, work: Awaitable[_Result]) -> _Result:
        """Do the `work` that sends a message, and count how it ended; raises what it raises.

        `operation` is the name of the span around it; `topic` is empty where it is an inbox.
        """
        begun = perf_counter()
        try:
            result = await work
        except BaseException as error:
            self.sent(operation, topic, perf_counter() - begun, type(error).__name__)
            raise
        self.sent(operation, topic, perf_counter() - begun)
        return result

    def sent(self, operation: str, topic: str, seconds: float, error_type: str = "") -> None:  # noqa: ARG002
        """A message was sent, or with an error type was not, after `seconds`."""
        self.statistics.count_sent(operation, "", seconds, error_type)

    @property
    def measures(self) -> bool:
        """Whether `measure` wants to hear of each delivery. On the hot path."""
        return False

    def measure(self, durable: str, seconds: float, error_type: str) -> None:
        """A delivery of a mailbox was settled `seconds` after its hand-over; only asked while `measures` says so."""


NO_INSTRUMENTATION = Instrumentation()
