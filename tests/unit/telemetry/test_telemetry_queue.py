"""The queue of spans is bounded, and says how many it lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from threading import Event

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, TraceIdRatioBased
from opentelemetry.trace import Tracer

from callboard.telemetry.queue import RoomSampler, SpanQueue

LIMIT = 5


class Gate(SpanExporter):
    """A collector that takes nothing until its gate is open, and then what `result` says."""

    def __init__(self) -> None:
        self.entered = Event()
        self.open = Event()
        self.result: SpanExportResult | None = SpanExportResult.SUCCESS
        self.names: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        assert self.open.wait(10)
        if self.result is None:
            raise OSError("no route")
        self.names += [span.name for span in spans]
        return self.result


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def queue(gate: Gate) -> Iterator[SpanQueue]:
    queue = SpanQueue(gate, LIMIT, batch=1, delay_milliseconds=60_000)
    yield queue
    gate.open.set()
    queue.shutdown()


@pytest.fixture
def tracer(queue: SpanQueue, gate: Gate) -> Tracer:
    """Its queue is empty, and the exporter holds one span."""
    provider = TracerProvider(DEFAULT_ON, shutdown_on_exit=False)
    provider.add_span_processor(queue)
    tracer = provider.get_tracer("test")
    tracer.start_span("first").end()
    assert gate.entered.wait(10)
    return tracer


def test_full_queue_holds_its_limit_and_counts_what_it_pushes_out(tracer: Tracer, queue: SpanQueue, gate: Gate) -> None:
    for number in range(LIMIT + 3):
        tracer.start_span(str(number)).end()
    assert (queue.waiting, queue.dropped, queue.unsent) == (LIMIT, 3, LIMIT + 4)
    gate.open.set()
    queue.shutdown()
    assert gate.names == ["first", "3", "4", "5", "6", "7"]
    assert (queue.waiting, queue.dropped, queue.unsent) == (0, 3, 3)


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, None], ids=["failure", "exception"])
def test_batch_that_the_collector_does_not_take_is_counted(
    tracer: Tracer, queue: SpanQueue, gate: Gate, result: SpanExportResult | None
) -> None:
    logging.getLogger("opentelemetry.sdk").propagate = False  # its traceback is no news here
    tracer.start_span("second").end()
    gate.result = result
    gate.open.set()
    queue.shutdown()
    logging.getLogger("opentelemetry.sdk").propagate = True
    assert (queue.dropped, queue.unsent) == (2, 2)


def test_losses_are_logged_once_a_minute(
    tracer: Tracer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("callboard.telemetry.queue.time.monotonic", lambda: now)
    for _ in range(LIMIT + 3):
        tracer.start_span("more").end()
    now += 61.0
    tracer.start_span("more").end()
    said = [record.getMessage() for record in caplog.records if record.name == "callboard.telemetry"]
    assert [text.split(" spans")[0] for text in said] == ["telemetry: 1", "telemetry: 4"]


def test_nothing_is_recorded_while_the_queue_is_full(tracer: Tracer, queue: SpanQueue, gate: Gate) -> None:
    bounded = TracerProvider(RoomSampler(DEFAULT_ON, queue), shutdown_on_exit=False).get_tracer("test")
    assert bounded.start_span("room").is_recording()
    for _ in range(LIMIT):
        tracer.start_span("filler").end()
    assert not bounded.start_span("no room").is_recording()
    assert (queue.waiting, queue.dropped) == (LIMIT, 1)
    gate.open.set()
    queue.shutdown()
    assert bounded.start_span("room again").is_recording()


def test_span_that_is_not_sampled_is_no_loss(tracer: Tracer, queue: SpanQueue) -> None:
    for _ in range(LIMIT):
        tracer.start_span("filler").end()
    never = TracerProvider(RoomSampler(TraceIdRatioBased(0.0), queue), shutdown_on_exit=False).get_tracer("test")
    assert not never.start_span("unsampled").is_recording()
    assert queue.dropped == 0
