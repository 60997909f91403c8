"""What a log record says about the message that it was written for."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from attrs import frozen
from opentelemetry import trace

from callboard.brokers.delivery import BrokerDelivery
from callboard.instrumentation import NO_SPAN
from callboard.routing.current import CURRENT
from callboard.routing.failure import Settlement
from callboard.routing.slot import SLOT
from callboard.telemetry.jaeger import trace_address
from callboard.telemetry.propagation import extract, sampled

__all__ = ["ContextFilter"]

_GOES_ON = (Settlement.RETRY.value, Settlement.HAND_BACK.value)


class ContextFilter(logging.Filter):
    """Puts `trace_id`, `span_id`, `actor`, `topic`, `identifier` and `attempt` on each record, whoever wrote it.

    For a handler of `logging`. What is not known is an empty text; what the record has already (by `extra`) stays. The
    trace is that of the current span, else the one whose headers the message came with. The last failure of a message
    whose trace is recorded also gets `trace_url`, when `CALLBOARD_JAEGER_URL` is set. Lets every record through and
    never raises.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields."""
        found: dict[str, str | int] = {}
        with suppress(Exception):  # a header that nobody can read must not cost the line
            found = _fields(record)
        for name in _NAMES:
            record.__dict__.setdefault(name, found.get(name, ""))
        return True


_NAMES = ("trace_id", "span_id", "actor", "topic", "identifier", "attempt", "trace_url")


@frozen
class _Handled:
    """A message in a handler's hands."""

    delivery: BrokerDelivery
    actor: str
    attempt: int


def _handled() -> _Handled | None:
    """The message that the present code runs for: a handler, a task that it started, or the settlement afterwards."""
    if (current := CURRENT.get()) is not None:
        return _Handled(current.delivery, current.actor, current.attempt)
    slot = SLOT.get()
    # A task that was started from the slot's outlives the message that it was started for.
    if slot is None or slot.delivery is None or slot.task is not asyncio.current_task():
        return None
    return _Handled(slot.delivery, "" if slot.action is None else slot.action.endpoint.actor, slot.attempt)


def _fields(record: logging.LogRecord) -> dict[str, str | int]:
    handled = _handled()
    found: dict[str, str | int] = {}
    if handled is not None:
        found |= {
            "actor": handled.actor,
            "topic": handled.delivery.topic,
            "identifier": str(handled.delivery.identifier),
            "attempt": handled.attempt,
        }
    context = _trace_of(handled)
    if context.is_valid:
        found["trace_id"] = trace_id = trace.format_trace_id(context.trace_id)
        found["span_id"] = trace.format_span_id(context.span_id)
        if sampled(context) and getattr(record, "settlement", _GOES_ON[0]) not in _GOES_ON:
            found["trace_url"] = trace_address(trace_id)
    return found


def _trace_of(handled: _Handled | None) -> trace.SpanContext:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        return context
    carrier = NO_SPAN.carrier or ({} if handled is None else handled.delivery.headers)
    return trace.get_current_span(extract(carrier)).get_span_context()
