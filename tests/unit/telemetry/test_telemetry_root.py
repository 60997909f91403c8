"""Traces that begin here are sampled as the SDK's sampler says, also where it is not asked."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased

from callboard.instrumentation import Endpoint, Incoming, Span
from callboard.telemetry import OpenTelemetryInstrumentation
from callboard.telemetry.span import RecordedSpan

IDENTIFIER = UUID("0d4f3c52-8f0e-4a3b-a7f0-1f4f3f0f9b61")
MakeDelivery = Callable[..., Incoming]
MakeCurrent = Callable[[Span], AbstractContextManager[Span]]


def provider_with(sampler: Sampler, exporter: InMemorySpanExporter | None = None) -> TracerProvider:
    provider = TracerProvider(sampler, shutdown_on_exit=False)
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.5, 1.0])
def test_roots_are_sampled_as_the_sdk_would(ratio: float, endpoint: Endpoint, delivery: MakeDelivery) -> None:
    sampler = ParentBased(TraceIdRatioBased(ratio))
    provider = provider_with(sampler)
    telemetry = OpenTelemetryInstrumentation(provider)
    recorded: set[int] = set()
    dropped: set[int] = set()
    for _ in range(2000):
        span = telemetry.process(endpoint, delivery({}))
        (recorded if isinstance(span, RecordedSpan) else dropped).add(int(span.trace_id, 16))

    assert len(recorded) + len(dropped) == 2000
    assert all(sampler.should_sample(None, trace_id, "any").decision.is_sampled() for trace_id in recorded)
    assert not any(sampler.should_sample(None, trace_id, "any").decision.is_sampled() for trace_id in dropped)
    assert abs(len(recorded) / 2000 - ratio) < 0.05


def test_recorded_root_has_the_id_that_was_drawn(
    exporter: InMemorySpanExporter, endpoint: Endpoint, delivery: MakeDelivery
) -> None:
    telemetry = OpenTelemetryInstrumentation(provider_with(ParentBased(TraceIdRatioBased(0.3)), exporter))
    random.seed(7)  # what the SDK's ids come from
    for _ in range(100):
        telemetry.process(endpoint, delivery({})).end()
    ids = {span.context.trace_id for span in exporter.get_finished_spans() if span.context}

    assert 10 < len(ids) < 60
    assert all(trace_id & (2**64 - 1) < TraceIdRatioBased.get_bound_for_rate(0.3) for trace_id in ids)


def test_spans_of_user_code_and_messages_belong_to_the_dropped_root(
    exporter: InMemorySpanExporter, endpoint: Endpoint, delivery: MakeDelivery, current: MakeCurrent
) -> None:
    provider = provider_with(ParentBased(TraceIdRatioBased(0.0)), exporter)
    telemetry = OpenTelemetryInstrumentation(provider)
    with current(telemetry.process(endpoint, delivery({}))) as process:
        with provider.get_tracer("app").start_as_current_span("work") as work:
            assert not work.is_recording()
        carrier = telemetry.publish("orders.place", IDENTIFIER).carrier
        seen = trace.get_current_span().get_span_context()

    version, trace_id, span_id, flags = carrier["traceparent"].split("-")
    assert (version, trace_id, span_id) == ("00", process.trace_id, f"{seen.span_id:016x}")
    assert trace_id == f"{work.get_span_context().trace_id:032x}"
    assert int(flags, 16) == seen.trace_flags == work.get_span_context().trace_flags
    assert int(flags, 16) & 1 == 0
    assert not exporter.get_finished_spans()


def test_publish_outside_of_any_trace_is_sampled_alike(exporter: InMemorySpanExporter) -> None:
    telemetry = OpenTelemetryInstrumentation(provider_with(ParentBased(TraceIdRatioBased(0.5)), exporter))
    flags: list[int] = []
    for _ in range(200):
        span = telemetry.publish("orders.place", IDENTIFIER)
        flags.append(int(span.carrier["traceparent"][-2:], 16) & 1)
        span.end()

    assert sum(flags) == len(exporter.get_finished_spans())
    assert 60 < sum(flags) < 140


def test_ids_of_a_users_generator_are_used(endpoint: Endpoint, delivery: MakeDelivery) -> None:
    provider = provider_with(ParentBased(TraceIdRatioBased(0.5)))

    class Counting:
        made = 0

        def generate_trace_id(self) -> int:
            self.made += 1
            return self.made << 63  # every second one has a large lower half

        def generate_span_id(self) -> int:
            return 7

        def is_trace_id_random(self) -> bool:
            return False

    provider.id_generator = Counting()  # type: ignore[assignment]
    telemetry = OpenTelemetryInstrumentation(provider)
    spans = [telemetry.process(endpoint, delivery({})) for _ in range(4)]

    assert [isinstance(span, RecordedSpan) for span in spans] == [False, True, False, True]
    assert [span.carrier["traceparent"] for span in spans] == [
        f"00-{number << 63:032x}-{7:016x}-{flag}" for number, flag in ((1, "00"), (2, "01"), (3, "00"), (4, "01"))
    ]


def test_another_sampler_is_asked_about_roots(
    exporter: InMemorySpanExporter, endpoint: Endpoint, delivery: MakeDelivery
) -> None:
    telemetry = OpenTelemetryInstrumentation(provider_with(TraceIdRatioBased(1.0), exporter))
    telemetry.process(endpoint, delivery({})).end()
    assert len(exporter.get_finished_spans()) == 1
