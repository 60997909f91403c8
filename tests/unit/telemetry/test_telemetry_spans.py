"""Spans of the runtime's operations: names, attributes, parents."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID

import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from callboard.instrumentation import Endpoint, Incoming, Span
from callboard.telemetry import OpenTelemetryInstrumentation
from callboard.telemetry.attributes import SCHEMA_URL
from callboard.telemetry.template import LIMIT

IDENTIFIER = UUID("0d4f3c52-8f0e-4a3b-a7f0-1f4f3f0f9b61")
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"

MakeDelivery = Callable[..., Incoming]
MakeCurrent = Callable[[Span], AbstractContextManager[Span]]


def by_name(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return found


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


class TestNames:
    def test_each_operation_has_its_name_and_kind(
        self,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        message = delivery()
        spans = [
            telemetry.publish("orders.place", IDENTIFIER),
            telemetry.request("orders.place", IDENTIFIER),
            telemetry.process(endpoint, message),
            telemetry.reply(endpoint, message),
            telemetry.dead_letter(endpoint, message),
            telemetry.restart("Delays", {}),
        ]
        for span in spans:
            span.end()
        assert [(span.name, span.kind) for span in exporter.get_finished_spans()] == [
            ("publish orders.place", SpanKind.PRODUCER),
            ("request orders.place", SpanKind.CLIENT),
            ("process airports.{code}.delay", SpanKind.CONSUMER),
            ("reply", SpanKind.PRODUCER),
            ("dead_letter airports.{code}.delay", SpanKind.PRODUCER),
            ("restart Delays", SpanKind.INTERNAL),
        ]

    def test_inbox_appears_in_no_name_and_no_attribute(
        self, telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
    ) -> None:
        telemetry.publish("_INBOX.x8f3k2", IDENTIFIER).end()
        (span,) = exporter.get_finished_spans()
        assert span.name == "publish (inbox)"
        assert (span.attributes or {})["messaging.destination.template"] == "(inbox)"
        assert not any("x8f3k2" in str(value) for value in (span.attributes or {}).values())

    def test_what_is_sent_is_named_by_the_templates_of_this_process(
        self,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        telemetry.declare(["passengers.{id}.rebooked"])
        telemetry.process(endpoint, delivery()).end()
        telemetry.publish("passengers.17.rebooked", IDENTIFIER).end()
        telemetry.request("airports.EWR.delay", IDENTIFIER).end()
        assert [span.name for span in exporter.get_finished_spans()[1:]] == [
            "publish passengers.{id}.rebooked",
            "request airports.{code}.delay",
        ]
        assert [
            (span.attributes or {})["messaging.destination.name"] for span in exporter.get_finished_spans()[1:]
        ] == [
            "passengers.17.rebooked",
            "airports.EWR.delay",
        ]

    def test_ten_thousand_topics_and_inboxes_leave_the_number_of_names_bounded(
        self, telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
    ) -> None:
        for number in range(10_000):
            telemetry.publish(f"orders.{number}.placed", IDENTIFIER).end()
            telemetry.publish(f"_INBOX.{number}", IDENTIFIER).end()
        assert len({span.name for span in exporter.get_finished_spans()}) == LIMIT + 2


class TestAttributes:
    def test_process_shows_the_delivery_and_its_handler(
        self,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        telemetry.process(endpoint, delivery({"Nats-Msg-Id": "m1"}, delivered=3, identifier=IDENTIFIER)).end()
        assert dict(exporter.get_finished_spans()[0].attributes or {}) == {
            "messaging.system": "nats",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": "airports.EWR.delay",
            "messaging.destination.template": "airports.{code}.delay",
            "server.address": "127.0.0.1",
            "server.port": 4222,
            "messaging.message.id": "m1",
            "messaging.message.conversation_id": str(IDENTIFIER),
            "messaging.message.body.size": 17,
            "messaging.consumer.group.name": "delay-1a2b3c4d",
            "messaging.nats.stream.name": "AIRPORTS",
            "messaging.nats.message.stream_sequence": 42,
            "messaging.nats.message.delivery_count": 3,
            "callboard.actor": "Delays",
            "code.function.name": "actors.flights.Delays.delay",
        }

    def test_with_links_an_attempt_begins_a_trace_and_links_its_message(
        self, provider: TracerProvider, exporter: InMemorySpanExporter, endpoint: Endpoint, delivery: MakeDelivery
    ) -> None:
        telemetry = OpenTelemetryInstrumentation(provider, links=True)
        process = telemetry.process(endpoint, delivery({"traceparent": f"00-{TRACE}-{PARENT}-01", "baggage": "a=1"}))
        assert process.carrier["baggage"] == "a=1"
        process.end()
        (span,) = exporter.get_finished_spans()
        assert span.parent is None
        assert process.trace_id != TRACE
        assert [format(link.context.span_id, "016x") for link in span.links] == [PARENT]

    def test_publish_shows_topic_and_identifier(
        self, telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
    ) -> None:
        telemetry.publish("orders.place", IDENTIFIER).end()
        assert dict(exporter.get_finished_spans()[0].attributes or {}) == {
            "messaging.system": "nats",
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.destination.name": "orders.place",
            "messaging.destination.template": "orders.place",
            "server.address": "127.0.0.1",
            "server.port": 4222,
            "messaging.message.conversation_id": str(IDENTIFIER),
        }

    def test_what_was_sent_is_shown_once_it_is_known(
        self, telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
    ) -> None:
        span = telemetry.publish("orders.place", IDENTIFIER)
        span.sent("m1", "ORDERS", 7)
        span.end()
        attributes = exporter.get_finished_spans()[0].attributes or {}
        assert attributes["messaging.message.id"] == "m1"
        assert attributes["messaging.nats.stream.name"] == "ORDERS"
        assert attributes["messaging.nats.message.stream_sequence"] == 7

    def test_dead_letter_shows_the_message_that_it_holds(
        self,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        telemetry.dead_letter(endpoint, delivery(delivered=3)).end()
        attributes = exporter.get_finished_spans()[0].attributes or {}
        assert attributes["messaging.destination.name"] == "airports.EWR.delay"
        assert attributes["messaging.consumer.group.name"] == "delay-1a2b3c4d"
        assert attributes["messaging.nats.message.stream_sequence"] == 42

    def test_facts_of_one_message_do_not_appear_on_the_next(
        self,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        telemetry.process(endpoint, delivery({"Nats-Msg-Id": "m1"})).end()
        telemetry.process(endpoint, delivery()).end()
        assert "messaging.message.id" not in (exporter.get_finished_spans()[1].attributes or {})

    def test_tracer_names_the_version_of_the_conventions(
        self, telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
    ) -> None:
        telemetry.publish("orders.place", IDENTIFIER).end()
        scope = exporter.get_finished_spans()[0].instrumentation_scope
        assert scope is not None
        assert (scope.name, scope.schema_url) == ("callboard", SCHEMA_URL)

    def test_failure_sets_error_type_and_status(
        self, telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
    ) -> None:
        span = telemetry.publish("orders.place", IDENTIFIER)
        span.fail("TimeoutError", "no answer")
        span.set("callboard.attempt", 2)
        span.event("retry", {"delay": 1.0})
        span.end()
        (done,) = exporter.get_finished_spans()
        assert (done.status.status_code, done.status.description) == (StatusCode.ERROR, "no answer")
        attributes = done.attributes or {}
        assert (attributes["error.type"], attributes["callboard.attempt"]) == ("TimeoutError", 2)
        assert [event.name for event in done.events] == ["retry"]

    def test_success_leaves_the_status_unset(
        self, telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
    ) -> None:
        telemetry.publish("orders.place", IDENTIFIER).end()
        assert exporter.get_finished_spans()[0].status.status_code is StatusCode.UNSET

    def test_second_end_changes_and_logs_nothing(
        self,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        span = telemetry.publish("orders.place", IDENTIFIER)
        span.end()
        span.end()
        assert len(exporter.get_finished_spans()) == 1
        assert not caplog.records

    def test_link_points_at_the_reply(
        self, telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
    ) -> None:
        span = telemetry.request("orders.place", IDENTIFIER)
        span.link({"Traceparent": SAMPLED})
        span.link({"traceparent": "nonsense"})
        span.end()
        (link,) = exporter.get_finished_spans()[0].links
        assert link.context.span_id == int(PARENT, 16)


class TestParents:
    def test_one_trace_runs_from_publish_over_process_to_reply_and_next_publish(
        self,
        current: MakeCurrent,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        publish = telemetry.publish("airports.EWR.delay", IDENTIFIER)
        publish.end()
        message = delivery(publish.carrier)
        with current(telemetry.process(endpoint, message)):
            telemetry.publish("passengers.rebooked", IDENTIFIER).end()
            telemetry.reply(endpoint, message).end()
            telemetry.dead_letter(endpoint, message).end()
        first, process = (
            by_name(exporter, "publish airports.EWR.delay"),
            by_name(exporter, "process airports.{code}.delay"),
        )
        assert parent_id(first) is None
        assert parent_id(process) == span_id(first)
        for name in ("publish passengers.rebooked", "reply", "dead_letter airports.{code}.delay"):
            assert parent_id(by_name(exporter, name)) == span_id(process)

    def test_attempts_are_siblings(
        self,
        current: MakeCurrent,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        for delivered in (1, 2):
            with current(telemetry.process(endpoint, delivery({"traceparent": SAMPLED}, delivered=delivered))):
                pass
        spans = exporter.get_finished_spans()
        assert [parent_id(span) for span in spans] == [int(PARENT, 16)] * 2
        assert [(span.attributes or {})["messaging.nats.message.delivery_count"] for span in spans] == [1, 2]

    def test_restart_stands_under_the_attempt_that_caused_it(
        self,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        attempt = telemetry.process(endpoint, delivery())
        attempt.end()
        telemetry.restart("Delays", attempt.carrier).end()
        process = by_name(exporter, "process airports.{code}.delay")
        assert parent_id(by_name(exporter, "restart Delays")) == span_id(process)

    def test_ambient_span_is_never_the_parent_of_process(
        self,
        telemetry: OpenTelemetryInstrumentation,
        provider: TracerProvider,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        with provider.get_tracer("app").start_as_current_span("ambient"):
            telemetry.process(endpoint, delivery()).end()
        assert by_name(exporter, "process airports.{code}.delay").parent is None

    @pytest.mark.parametrize(
        "traceparent",
        [
            "",
            "nonsense",
            f"00-{TRACE}-{PARENT}",
            f"00-{'0' * 32}-{PARENT}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"ff-{TRACE}-{PARENT}-01",
            f"00-{TRACE}-{PARENT}-01-more",
            f"00-{TRACE.upper()}-{PARENT}-01",
            f"00-{TRACE}-{PARENT}-0x",
            f"00-{TRACE}-{PARENT}-01" + "-" + "x" * 10_000,
        ],
    )
    def test_malformed_header_starts_a_new_trace(
        self,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
        traceparent: str,
    ) -> None:
        telemetry.process(endpoint, delivery({"traceparent": traceparent})).end()
        (span,) = exporter.get_finished_spans()
        assert span.parent is None

    @pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT", "Xraceparent"])
    def test_headers_are_read_in_any_case(
        self,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
        name: str,
    ) -> None:
        telemetry.process(endpoint, delivery({name: SAMPLED, "Nats-Msg-Id": "m1"})).end()
        (span,) = exporter.get_finished_spans()
        assert parent_id(span) == int(PARENT, 16)

    def test_flags_03_count_as_sampled(
        self,
        telemetry: OpenTelemetryInstrumentation,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        telemetry.process(endpoint, delivery({"traceparent": f"00-{TRACE}-{PARENT}-03"})).end()
        assert len(exporter.get_finished_spans()) == 1

    def test_spans_of_user_code_are_children_of_process(
        self,
        current: MakeCurrent,
        telemetry: OpenTelemetryInstrumentation,
        provider: TracerProvider,
        exporter: InMemorySpanExporter,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        with (
            current(telemetry.process(endpoint, delivery())),
            provider.get_tracer("app").start_as_current_span("work"),
        ):
            telemetry.publish("orders.place", IDENTIFIER).end()
        work = by_name(exporter, "work")
        assert parent_id(work) == span_id(by_name(exporter, "process airports.{code}.delay"))
        assert parent_id(by_name(exporter, "publish orders.place")) == span_id(work)

    def test_publish_outside_a_handler_is_a_child_of_the_ambient_span(
        self,
        telemetry: OpenTelemetryInstrumentation,
        provider: TracerProvider,
        exporter: InMemorySpanExporter,
    ) -> None:
        with provider.get_tracer("app").start_as_current_span("GET /"):
            telemetry.publish("orders.place", IDENTIFIER).end()
        assert parent_id(by_name(exporter, "publish orders.place")) == span_id(by_name(exporter, "GET /"))

    def test_nothing_is_current_after_leave(
        self,
        current: MakeCurrent,
        telemetry: OpenTelemetryInstrumentation,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        with current(telemetry.process(endpoint, delivery({"traceparent": SAMPLED}))) as span:
            assert trace.format_trace_id(trace.get_current_span().get_span_context().trace_id) == span.trace_id
        assert trace.get_current_span() is trace.INVALID_SPAN


class TestCarrier:
    def test_carrier_holds_the_span_itself(
        self, telemetry: OpenTelemetryInstrumentation, exporter: InMemorySpanExporter
    ) -> None:
        span = telemetry.publish("orders.place", IDENTIFIER)
        span.end()
        context = exporter.get_finished_spans()[0].context
        assert context is not None
        assert span.carrier == {
            "traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        }
        assert span.trace_id == f"{context.trace_id:032x}"

    def test_tracestate_and_baggage_go_on(
        self,
        current: MakeCurrent,
        telemetry: OpenTelemetryInstrumentation,
        endpoint: Endpoint,
        delivery: MakeDelivery,
    ) -> None:
        headers = {"Traceparent": SAMPLED, "Tracestate": "vendor=1", "Baggage": "tenant=acme"}
        with current(telemetry.process(endpoint, delivery(headers))):
            assert baggage.get_baggage("tenant") == "acme"
            carrier = telemetry.publish("orders.place", IDENTIFIER).carrier
        assert (carrier["tracestate"], carrier["baggage"]) == ("vendor=1", "tenant=acme")
