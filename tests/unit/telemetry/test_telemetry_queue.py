"""The queue of spans is bounded, and says how many it lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from threading import Event
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import DEFAULT_ON
from opentelemetry.trace import Tracer

from callboard.instrumentation import Endpoint, Incoming, Span
from callboard.telemetry import OpenTelemetryInstrumentation
from callboard.telemetry.queue import RoomSampler, SpanQueue

LIMIT, BATCH = 12, 4
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
IDENTIFIER = UUID("0d4f3c52-8f0e-4a3b-a7f0-1f4f3f0f9b61")


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
    queue = SpanQueue(gate, LIMIT, batch=BATCH, delay_milliseconds=60_000)
    yield queue
    gate.open.set()
    queue.shutdown()


@pytest.fixture
def tracer(queue: SpanQueue) -> Tracer:
    """Makes spans that the queue gets, whether it has room or not."""
    provider = TracerProvider(DEFAULT_ON, shutdown_on_exit=False)
    provider.add_span_processor(queue)
    return provider.get_tracer("test")


def make(tracer: Tracer, count: int) -> None:
    for number in range(count):
        tracer.start_span(str(number)).end()


@pytest.fixture
def stuck(tracer: Tracer, gate: Gate) -> Tracer:
    """The exporter holds one span, and the queue is empty."""
    make(tracer, 1)
    assert gate.entered.wait(10)
    return tracer


def flush(queue: SpanQueue, gate: Gate, result: SpanExportResult | None = SpanExportResult.SUCCESS) -> None:
    """The collector says this to everything."""
    gate.result = result
    gate.open.set()
    queue.force_flush()


def test_queue_at_its_limit_counts_what_it_pushes_out(stuck: Tracer, queue: SpanQueue, gate: Gate) -> None:
    make(stuck, LIMIT + 3)
    assert (queue.waiting, queue.dropped, queue.unsent) == (LIMIT, 3, 1 + LIMIT + 3)
    flush(queue, gate)
    assert gate.names[1:] == [str(number) for number in range(3, LIMIT + 3)]
    assert (queue.waiting, queue.dropped, queue.unsent) == (0, 3, 3)


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, None], ids=["failure", "exception"])
def test_batch_that_the_collector_does_not_take_is_counted(
    stuck: Tracer, queue: SpanQueue, gate: Gate, result: SpanExportResult | None
) -> None:
    sdk = logging.getLogger("opentelemetry.sdk")
    sdk.propagate = False  # its traceback is no news here
    make(stuck, BATCH - 1)
    flush(queue, gate, result)
    sdk.propagate = True
    assert (queue.dropped, queue.unsent) == (BATCH, BATCH)


def test_collector_has_to_show_that_it_is_there(tracer: Tracer, queue: SpanQueue, gate: Gate) -> None:
    def room() -> int:
        found = 0
        while not queue.is_full:
            make(tracer, 1)
            found += 1
        return found

    make(tracer, 1)
    assert gate.entered.wait(10), "the first span waits for nothing"
    assert room() == 1
    flush(queue, gate, SpanExportResult.FAILURE)
    assert room() == 1
    flush(queue, gate)
    gate.open.clear()
    gate.entered.clear()
    make(tracer, BATCH)
    assert gate.entered.wait(10)
    assert room() == LIMIT


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "callboard.telemetry"]


def test_losses_are_logged_once_a_minute(
    stuck: Tracer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("callboard.telemetry.queue.time.monotonic", lambda: now)
    make(stuck, LIMIT + 3)
    now += 61.0
    make(stuck, 1)
    assert [text.split(" spans")[0] for text in said(caplog)] == ["telemetry: 1", "telemetry: 4"]


def test_collector_that_goes_and_comes_back_is_one_line_each(
    tracer: Tracer, queue: SpanQueue, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    for result in (
        SpanExportResult.FAILURE,
        SpanExportResult.FAILURE,
        SpanExportResult.SUCCESS,
        SpanExportResult.SUCCESS,
    ):
        make(tracer, 1)
        flush(queue, gate, result)
    away, back = said(caplog)
    assert "takes no spans" in away
    assert "takes spans again; 2 were lost" in back


def test_nothing_is_recorded_while_there_is_no_room(stuck: Tracer, queue: SpanQueue, gate: Gate) -> None:
    bounded = TracerProvider(RoomSampler(DEFAULT_ON, queue), shutdown_on_exit=False).get_tracer("test")
    assert bounded.start_span("room").is_recording()
    make(stuck, BATCH)
    assert not bounded.start_span("no room").is_recording()
    flush(queue, gate)
    assert bounded.start_span("room again").is_recording()


class TestWithoutRoom:
    """What the runtime's own spans become."""

    @pytest.fixture
    def telemetry(self, queue: SpanQueue) -> OpenTelemetryInstrumentation:
        provider = TracerProvider(RoomSampler(DEFAULT_ON, queue), shutdown_on_exit=False)
        return OpenTelemetryInstrumentation(provider)

    def test_headers_of_a_message_go_on_as_they_came(
        self,
        stuck: Tracer,
        telemetry: OpenTelemetryInstrumentation,
        endpoint: Endpoint,
        delivery: Callable[..., Incoming],
        current: Callable[[Span], AbstractContextManager[Span]],
    ) -> None:
        make(stuck, BATCH)
        with current(telemetry.process(endpoint, delivery({"Traceparent": SAMPLED, "Baggage": "a=1"}))):
            publish = telemetry.publish("orders.placed", IDENTIFIER)
            assert publish.carrier == {"traceparent": SAMPLED, "baggage": "a=1"}

    def test_what_a_recorded_attempt_sends_is_still_its_child(
        self,
        stuck: Tracer,
        telemetry: OpenTelemetryInstrumentation,
        endpoint: Endpoint,
        delivery: Callable[..., Incoming],
        current: Callable[[Span], AbstractContextManager[Span]],
    ) -> None:
        with current(telemetry.process(endpoint, delivery({"traceparent": SAMPLED}))) as process:
            make(stuck, BATCH)
            publish = telemetry.publish("orders.placed", IDENTIFIER)
            assert publish.carrier == process.carrier
            assert publish.carrier["traceparent"] != SAMPLED
