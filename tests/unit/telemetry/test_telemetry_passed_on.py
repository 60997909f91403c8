"""Trace headers go on where no span is recorded: unsampled, without an SDK, after an error in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from uuid import UUID

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from callboard.instrumentation import NO_SPAN, Endpoint, Incoming, Instrumentation, PassedOn, Span
from callboard.telemetry import OpenTelemetryInstrumentation

IDENTIFIER = UUID("0d4f3c52-8f0e-4a3b-a7f0-1f4f3f0f9b61")
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-02"

MakeDelivery = Callable[..., Incoming]
MakeCurrent = Callable[[Span], AbstractContextManager[Span]]


class TestUnsampled:
    def test_no_span_is_created_and_headers_go_on_as_they_came(
        self,
        current: MakeCurrent,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        headers = {"Traceparent": UNSAMPLED, "Tracestate": "vendor=1", "Baggage": "a=1;property"}
        message = delivery(headers)
        with current(telemetry.process(endpoint, message)) as process:
            spans = [
                telemetry.publish("orders.place", IDENTIFIER),
                telemetry.request("orders.place", IDENTIFIER),
                telemetry.reply(endpoint, message),
                telemetry.dead_letter(endpoint, message),
                telemetry.restart("Delays", process.carrier),
            ]
        expected = {"traceparent": UNSAMPLED, "tracestate": "vendor=1", "baggage": "a=1;property"}
        for span in (process, *spans):
            span.end()
            assert span.carrier == expected
            assert span.trace_id == TRACE
        assert not exporter.get_finished_spans()

    def test_user_code_sees_the_remote_context_and_may_add_baggage(
        self,
        current: MakeCurrent,
        telemetry: OpenTelemetryInstrumentation,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        with current(telemetry.process(endpoint, delivery({"traceparent": UNSAMPLED}))):
            seen = trace.get_current_span()
            assert not seen.is_recording()
            assert seen.get_span_context().is_remote
            assert trace.format_span_id(seen.get_span_context().span_id) == PARENT
            token = otel.attach(baggage.set_baggage("tenant", "acme"))
            try:
                carrier = telemetry.publish("orders.place", IDENTIFIER).carrier
            finally:
                otel.detach(token)
        assert carrier == {"traceparent": UNSAMPLED, "baggage": "tenant=acme"}

    def test_unsampled_ambient_span_is_carried_on(self, endpoint: Endpoint, exporter: InMemorySpanExporter) -> None:
        provider = TracerProvider(ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
        telemetry = OpenTelemetryInstrumentation(provider)
        with provider.get_tracer("app").start_as_current_span("GET /") as ambient:
            carrier = telemetry.publish("orders.place", IDENTIFIER).carrier
        context = ambient.get_span_context()
        assert carrier["traceparent"].split("-")[1:3] == [
            f"{context.trace_id:032x}",
            f"{context.span_id:016x}",
        ]
        assert int(carrier["traceparent"][-2:], 16) & 1 == 0

    def test_sampler_that_does_not_follow_parents_is_asked(
        self, exporter: InMemorySpanExporter, endpoint: Endpoint, delivery: MakeDelivery
    ) -> None:
        provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        OpenTelemetryInstrumentation(provider).process(endpoint, delivery({"traceparent": UNSAMPLED})).end()
        (span,) = exporter.get_finished_spans()
        assert span.parent is not None
        assert span.parent.span_id == int(PARENT, 16)


HEADERS: list[dict[str, str]] = [
    {},
    {"user": "x"},
    {"traceparent": SAMPLED},
    {"Traceparent": UNSAMPLED, "Tracestate": "vendor=1", "Baggage": "a=1;b, c=%20"},
    {"Xraceparent": "not at all a traceparent"},
]


class TestWithoutSdk:
    @pytest.mark.parametrize("provider", [trace.ProxyTracerProvider(), trace.NoOpTracerProvider()])
    @pytest.mark.parametrize("headers", HEADERS)
    def test_everything_is_what_the_base_class_does(
        self,
        current: MakeCurrent,
        provider: trace.TracerProvider,
        endpoint: Endpoint,
        delivery: MakeDelivery,
        headers: Mapping[str, str],
    ) -> None:
        def carriers(instrumentation: Instrumentation) -> list[Mapping[str, str]]:
            message = delivery(headers)
            with current(instrumentation.process(endpoint, message)) as process:
                spans = [
                    process,
                    instrumentation.publish("orders.place", IDENTIFIER),
                    instrumentation.request("orders.place", IDENTIFIER),
                    instrumentation.reply(endpoint, message),
                    instrumentation.dead_letter(endpoint, message),
                    instrumentation.restart("Delays", headers),
                ]
                assert all(span is NO_SPAN or type(span) is PassedOn for span in spans)
                return [dict(span.carrier) for span in spans]

        assert carriers(OpenTelemetryInstrumentation(provider)) == carriers(Instrumentation())

    def test_disabled_sdk_counts_as_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        telemetry = OpenTelemetryInstrumentation(TracerProvider(shutdown_on_exit=False))
        assert telemetry.publish("orders.place", IDENTIFIER) is NO_SPAN


class Broken(Sampler):
    """A sampler as a plug-in might be."""

    def should_sample(
        self,
        parent_context: otel.Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        raise RuntimeError("broken sampler")

    def get_description(self) -> str:
        return "Broken"


class TestGuard:
    def test_error_in_the_sdk_costs_the_span_and_one_warning(
        self, endpoint: Endpoint, delivery: MakeDelivery, caplog: pytest.LogCaptureFixture
    ) -> None:
        telemetry = OpenTelemetryInstrumentation(TracerProvider(Broken(), shutdown_on_exit=False))
        spans = [telemetry.process(endpoint, delivery({"Traceparent": SAMPLED})) for _ in range(3)]
        assert [span.carrier for span in spans] == [{"traceparent": SAMPLED}] * 3
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("callboard.telemetry", logging.WARNING)
        assert "OpenTelemetryInstrumentation.process" in record.getMessage()
