"""The runtime's spans over OpenTelemetry's."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from callboard.instrumentation import Span
from callboard.telemetry.attributes import ERROR_TYPE, MESSAGE_ID, STREAM, STREAM_SEQUENCE
from callboard.telemetry.guard import guarded, warn_once
from callboard.telemetry.propagation import extract, inject

__all__ = ["CarriedSpan", "RecordedSpan"]


_SPAN = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, otel.Context())))
"""Where a context keeps its span; `set_span_in_context` copies the context twice."""


def _no_headers(_: object) -> Mapping[str, str]:
    return {}


def _no_trace(_: object) -> str:
    return ""


class CarriedSpan(Span):
    """A span that somebody else owns, carried through: messages sent on its behalf and spans started by user
    code are its children, and nothing is recorded."""

    __slots__ = ("_context", "_span")

    def __init__(self, span: trace.Span, context: otel.Context) -> None:
        self._span = span
        self._context = context

    @property
    @guarded(_no_headers)
    def carrier(self) -> Mapping[str, str]:
        return inject(self._span, self._context)

    @property
    @guarded(_no_trace)
    def trace_id(self) -> str:
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    # For each message, recorded or not: `guarded` would cost a call more.

    def enter(self) -> object:
        try:
            return otel.attach(otel.Context({**self._context, _SPAN: self._span}))
        except Exception:  # noqa: BLE001 - as in `guarded`
            warn_once("Span.enter")
            return None

    def leave(self, token: object) -> None:
        if token is None:
            return
        try:
            otel.detach(token)  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001 - as in `guarded`
            warn_once("Span.leave")


class RecordedSpan(CarriedSpan):
    """A span of the runtime's own."""

    __slots__ = ()
    records = True

    @guarded(Span.set)
    def set(self, key: str, value: str | float | bool) -> None:  # noqa: FBT001 - an attribute's value
        self._span.set_attribute(key, value)

    @guarded(Span.event)
    def event(self, name: str, attributes: Mapping[str, str | float | bool] | None = None) -> None:
        self._span.add_event(name, attributes)

    @guarded(Span.sent)
    def sent(self, message_id: str, stream: str = "", sequence: int = 0) -> None:
        self._span.set_attribute(MESSAGE_ID, message_id)
        if stream:
            self._span.set_attributes({STREAM: stream, STREAM_SEQUENCE: sequence})

    @guarded(Span.link)
    def link(self, carrier: Mapping[str, str]) -> None:
        target = trace.get_current_span(extract(carrier)).get_span_context()
        if target.is_valid:
            self._span.add_link(target)

    @guarded(Span.fail)
    def fail(self, error_type: str, description: str = "") -> None:
        self._span.set_attribute(ERROR_TYPE, error_type)
        self._span.set_status(Status(StatusCode.ERROR, description or None))

    @guarded(Span.end)
    def end(self) -> None:
        # The SDK warns about a second end; the contract allows it.
        if self._span.is_recording():
            self._span.end()
