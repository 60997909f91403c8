"""What Jaeger says of traces that are wrong: the tests that find nothing would see it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, Tracer, format_trace_id, set_span_in_context

from callboard.testing.span import AttributeValue, orphans_of
from tests.jaeger.server import WARNINGS, JaegerServer
from tests.jetstream.eventually import eventually

SECOND = 1_000_000_000


@pytest.fixture
def tracer(jaeger: JaegerServer) -> Iterator[Tracer]:
    """Spans of a resource that names no host."""
    provider = TracerProvider(resource=Resource({"service.name": "test"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{jaeger.endpoint}/v1/traces")))
    yield provider.get_tracer("test")
    provider.shutdown()


async def warnings_of(jaeger: JaegerServer, trace_id: int, count: int) -> list[AttributeValue]:
    """Its warnings on a trace of so many spans."""
    await eventually(lambda: len(jaeger.trace(format_trace_id(trace_id))) == count)
    trace = jaeger.trace(format_trace_id(trace_id))
    return [span.attributes[WARNINGS] for span in trace if WARNINGS in span.attributes]


async def test_child_before_its_parent_gets_a_warning_of_clock_skew(jaeger: JaegerServer, tracer: Tracer) -> None:
    parent = tracer.start_span("publish", start_time=10 * SECOND)
    child = tracer.start_span("process", set_span_in_context(parent), start_time=5 * SECOND)
    child.end(6 * SECOND)
    parent.end(11 * SECOND)

    warnings = await warnings_of(jaeger, parent.get_span_context().trace_id, 2)

    assert "clock skew" in str(warnings)


async def test_span_without_its_parent_gets_a_warning_and_is_an_orphan(jaeger: JaegerServer, tracer: Tracer) -> None:
    lost = NonRecordingSpan(SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    tracer.start_span("process", set_span_in_context(lost)).end()

    assert "is not in the trace" in str(await warnings_of(jaeger, 7, 1))
    assert [span.name for span in orphans_of(jaeger.trace(format_trace_id(7)))] == ["process"]


async def test_right_trace_gets_no_warning(jaeger: JaegerServer, tracer: Tracer) -> None:
    with tracer.start_as_current_span("publish") as parent:
        tracer.start_span("process").end()

    assert await warnings_of(jaeger, parent.get_span_context().trace_id, 2) == []


def test_trace_that_it_never_heard_of_has_no_spans(jaeger: JaegerServer) -> None:
    assert jaeger.trace(format_trace_id(8)) == []
