"""Where spans wait for the exporter: bounded, and honest about what it loses.

The SDK's batch processor throws the oldest span away when its queue is full, and the exporter gives a batch up when the
collector does not take it; neither can be asked how many.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from threading import Lock

from attrs import define, field
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

__all__ = ["RoomSampler", "SpanQueue"]

_QUIET_SECONDS = 60.0

_log = logging.getLogger("callboard.telemetry")


class SpanQueue(SpanProcessor):
    """The SDK's batch processor, with its losses counted. Its queue never holds more than `limit` spans."""

    def __init__(
        self, exporter: SpanExporter, limit: int, *, batch: int | None = None, delay_milliseconds: float | None = None
    ) -> None:
        self._limit = limit
        self._exporter = _CountedExporter(exporter)
        self._batches = BatchSpanProcessor(
            self._exporter,
            max_queue_size=limit,
            max_export_batch_size=batch,
            schedule_delay_millis=delay_milliseconds,
        )
        self._lock = Lock()
        self._ended = 0
        self._overflowed = 0
        self._not_recorded = 0
        self._said = -_QUIET_SECONDS

    @property
    def waiting(self) -> int:
        """Spans that ended and were not handed to the exporter."""
        return self._ended - self._overflowed - self._exporter.taken

    @property
    def is_full(self) -> bool:
        """Whether another span would push the oldest one out."""
        return self.waiting >= self._limit

    @property
    def dropped(self) -> int:
        """Spans that were lost so far: pushed out, given up by the exporter, or not recorded for lack of room. A trace
        that is cut off where there was no room counts once, whatever would have come below."""
        return self._overflowed + self._exporter.failed + self._not_recorded

    @property
    def unsent(self) -> int:
        """Spans that have not reached the collector: lost ones, and those that still wait or are on their way."""
        return self._ended + self._not_recorded - self._exporter.sent

    def note_not_recorded(self) -> None:
        """There was no room for a span, so it was not made."""
        with self._lock:
            self._not_recorded += 1
        self._say()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: only spans that ended are sent."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span, in the place of the oldest one where the queue is full."""
        if not (span.context and span.context.trace_flags.sampled):
            return
        with self._lock:
            overflows = self.is_full
            self._ended += 1
            self._overflowed += overflows
        if overflows:
            self._say()
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send what waits. Takes as long as the exporter does."""
        self._batches.shutdown()  # type: ignore[no-untyped-call] # the SDK's

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits now; True also when that failed."""
        return self._batches.force_flush(timeout_millis)

    def _say(self) -> None:
        now = time.monotonic()
        if now - self._said >= _QUIET_SECONDS:
            self._said = now
            _log.warning("telemetry: %d spans are lost so far; the collector does not take them in time", self.dropped)


class RoomSampler(Sampler):
    """Decides like `decide`, but records nothing for which `queue` has no room: recording costs 31 us, and the span
    would be lost all the same. The rest of such a trace is not recorded either, so that no span is without its parent.
    """

    def __init__(self, decide: Sampler, queue: SpanQueue) -> None:
        self._decide = decide
        self._queue = queue

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """What the other sampler says, or no."""
        result = self._decide.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is not Decision.RECORD_AND_SAMPLE or not self._queue.is_full:
            return result
        self._queue.note_not_recorded()
        return SamplingResult(Decision.DROP, trace_state=result.trace_state)

    def get_description(self) -> str:
        """That of the other one, by which a sampler that only follows parents is known."""
        return self._decide.get_description()


@define(eq=False)
class _CountedExporter(SpanExporter):
    _exporter: SpanExporter
    taken: int = field(init=False, default=0)
    sent: int = field(init=False, default=0)
    failed: int = field(init=False, default=0)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:  # also when it raises, which the SDK logs
            if result is SpanExportResult.SUCCESS:
                self.sent += len(spans)
            else:
                self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
