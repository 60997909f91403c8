"""The metrics: their names, units and attributes, in one table.

Source: OpenTelemetry semantic conventions 1.44.0 (messaging) for what they name; the rest is ours. Attributes are at
most four, and bounded: actors, durables, topic templates, error types; never a topic, an inbox or an identifier.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import field, frozen
from attrs.validators import max_len

from callboard.telemetry import attributes as names

__all__ = ["INSTRUMENTS", "InstrumentKind", "InstrumentSpec", "instrument"]


class InstrumentKind(StrEnum):
    """How values of an instrument add up."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@frozen
class InstrumentSpec:
    """One metric."""

    name: str
    kind: InstrumentKind
    unit: str
    description: str
    attributes: tuple[str, ...] = field(validator=max_len(4))

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus, as the collector and the stock exporter translate it (histograms: without
        `_bucket`, `_count`, `_sum`)."""
        suffix = {"s": "_seconds"}.get(self.unit, "")
        total = "_total" if self.kind is InstrumentKind.COUNTER else ""
        return self.name.replace(".", "_") + suffix + total


_OPERATION = (names.SYSTEM, names.OPERATION)
_MAILBOX = (names.ACTOR, names.TEMPLATE, names.CONSUMER_GROUP)
_COUNTER, _GAUGE, _HISTOGRAM = InstrumentKind.COUNTER, InstrumentKind.GAUGE, InstrumentKind.HISTOGRAM

INSTRUMENTS = (
    InstrumentSpec(
        "messaging.client.sent.messages",
        _COUNTER,
        "{message}",
        "Messages sent, or tried to be",
        (*_OPERATION, names.TEMPLATE, names.ERROR_TYPE),
    ),
    InstrumentSpec(
        "messaging.client.consumed.messages",
        _COUNTER,
        "{message}",
        "Deliveries that were settled",
        (*_OPERATION, names.CONSUMER_GROUP, names.ERROR_TYPE),
    ),
    InstrumentSpec(
        "messaging.client.operation.duration",
        _HISTOGRAM,
        "s",
        "From a publish to its acknowledgement, from a request to its reply",
        (*_OPERATION, names.TEMPLATE, names.ERROR_TYPE),
    ),
    InstrumentSpec(
        "messaging.process.duration",
        _HISTOGRAM,
        "s",
        "From the hand-over of a message to its settlement",
        (*_OPERATION, names.CONSUMER_GROUP, names.ERROR_TYPE),
    ),
    InstrumentSpec("callboard.mailbox.lag", _GAUGE, "{message}", "Messages that nobody was handed yet", _MAILBOX),
    InstrumentSpec(
        "callboard.mailbox.ack_pending", _GAUGE, "{message}", "Messages handed to somebody and not settled", _MAILBOX
    ),
    InstrumentSpec(
        "callboard.mailbox.credit", _GAUGE, "{message}", "Messages asked for that did not come yet", _MAILBOX
    ),
    InstrumentSpec("callboard.mailbox.age", _GAUGE, "s", "Age of the oldest message that is not settled", _MAILBOX),
    InstrumentSpec("callboard.actor.restarts", _COUNTER, "{restart}", "Restarts of an actor", (names.ACTOR,)),
    InstrumentSpec(
        "callboard.actor.state",
        _GAUGE,
        "{state}",
        "1 for the state that an actor is in",
        (names.ACTOR, names.ACTOR_STATE),
    ),
    InstrumentSpec("callboard.dead_letters", _COUNTER, "{message}", "Messages given up", (*_MAILBOX, names.ERROR_TYPE)),
    InstrumentSpec(
        "callboard.redeliveries", _COUNTER, "{message}", "Deliveries of messages delivered before", _MAILBOX
    ),
    InstrumentSpec(
        "callboard.duplicates", _COUNTER, "{message}", "Messages not handled because they had been", _MAILBOX
    ),
    InstrumentSpec(
        "callboard.lease.lost", _COUNTER, "{message}", "Failures not settled because their lease had run out", _MAILBOX
    ),
    InstrumentSpec(
        "callboard.outbox.pending",
        _GAUGE,
        "{message}",
        "Messages in an outbox that the stream has not yet",
        (names.QUEUE,),
    ),
    InstrumentSpec("callboard.loop.lag", _GAUGE, "s", "How late the process's timer was", ()),
    InstrumentSpec("callboard.spans.dropped", _COUNTER, "{span}", "Spans that did not reach the exporter", ()),
)
_BY_NAME = {each.name: each for each in INSTRUMENTS}


def instrument(name: str) -> InstrumentSpec:
    """The metric of this name. Raises `KeyError`."""
    return _BY_NAME[name]
