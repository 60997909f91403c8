"""Where spans wait for the exporter: bounded, and honest about what it loses.

The SDK's batch processor throws the oldest span away when its queue is full, and the exporter gives a batch up when the
collector does not take it; neither can be asked how many. Nor do they stop making spans that nobody will take: with the
collector away, a drain with 65,536 spans in the queue ran at a third of its speed and took 300 MiB.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from threading import Lock, Thread

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
    """The SDK's batch processor, with its losses counted. Its queue never holds more than `limit` spans, and is sent in
    batches of up to `batch`.

    A collector has to show that it is there: until it has taken spans, and once it has failed, there is room for an
    eighth of a batch: enough to find out whether it is there. The first span is sent at once, so that a collector that
    is there has shown it before more is made.
    """

    def __init__(self, exporter: SpanExporter, limit: int, *, batch: int, delay_milliseconds: float) -> None:
        self._limit = limit
        self._batch = batch
        self._exporter = _CountedExporter(exporter)
        self._batches = BatchSpanProcessor(
            self._exporter,
            max_queue_size=limit,
            max_export_batch_size=batch,
            schedule_delay_millis=delay_milliseconds,
        )
        self._first = Thread(target=self._batches.force_flush, name="callboard-telemetry-first", daemon=True)
        """Sends the first span. It ends with the exporter's answer, for which `shutdown` waits too."""
        self._lock = Lock()
        self._ended = 0
        self._overflowed = 0
        self._said = -_QUIET_SECONDS

    @property
    def waiting(self) -> int:
        """Spans that ended and were not handed to the exporter."""
        return self._ended - self._overflowed - self._exporter.taken

    @property
    def is_full(self) -> bool:
        """Whether there is no room for the spans that are made now."""
        return self.waiting >= (self._limit if self._exporter.takes else max(1, self._batch // 8))

    @property
    def dropped(self) -> int:
        """Spans that were made and lost: pushed out, or not taken by the collector. What was not recorded for lack of
        room does not count: nobody knows whether it would have been sampled."""
        return self._overflowed + self._exporter.failed

    @property
    def unsent(self) -> int:
        """Spans that have not reached the collector: lost ones, and those that still wait or are on their way."""
        return self._ended - self._exporter.sent

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: only spans that ended are sent."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span, in the place of the oldest one where the queue is at its limit."""
        if not (span.context and span.context.trace_flags.sampled):
            return
        with self._lock:
            overflows = self.waiting >= self._limit
            self._ended += 1
            self._overflowed += overflows
            first = self._ended == 1
        if overflows:
            self._say()
        self._batches.on_end(span)
        if first:
            self._first.start()

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
        self.span_queue = queue

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
        if result.decision is not Decision.RECORD_AND_SAMPLE or not self.span_queue.is_full:
            return result
        return SamplingResult(Decision.DROP, trace_state=result.trace_state)

    def get_description(self) -> str:
        """That of the other one, by which a sampler that only follows parents is known."""
        return self._decide.get_description()


@define(eq=False)
class _CountedExporter(SpanExporter):
    _exporter: SpanExporter
    takes: bool | None = field(init=False, default=None)
    """Whether the collector took the last batch; None before the first."""
    taken: int = field(init=False, default=0)
    sent: int = field(init=False, default=0)
    failed: int = field(init=False, default=0)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:  # also when it raises, which the SDK logs
            self._note(len(spans), takes=result is SpanExportResult.SUCCESS)
        return result

    def _note(self, count: int, *, takes: bool) -> None:
        before, self.takes = self.takes, takes
        if takes:
            self.sent += count
        else:
            self.failed += count
        if takes and before is False:
            _log.warning("telemetry: the collector takes spans again; %d were lost", self.failed)
        elif not takes and before is not False:
            _log.warning("telemetry: the collector takes no spans; until it does, hardly any are recorded")

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
