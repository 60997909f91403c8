"""The OTLP receiver, with the real exporter over HTTP."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from threading import Thread

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    set_span_in_context,
)

from callboard.testing import SpanReceiver


@pytest.fixture
def receiver() -> Iterator[SpanReceiver]:
    with SpanReceiver() as receiver:
        yield receiver


@pytest.fixture
def tracer(receiver: SpanReceiver) -> Iterator[Tracer]:
    provider = TracerProvider(resource=Resource({"service.name": "flights"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{receiver.endpoint}/v1/traces")))
    yield provider.get_tracer("test")
    provider.shutdown()


def test_span_arrives_with_everything_it_had(receiver: SpanReceiver, tracer: Tracer) -> None:
    target = SpanContext(7, 9, is_remote=True)
    span = tracer.start_span(
        "process",
        kind=SpanKind.CONSUMER,
        attributes={"a": "x", "b": 1, "c": [True, False]},
        links=[Link(target)],
    )
    span.add_event("settled", {"how": "nak"})
    span.set_status(StatusCode.ERROR, "broken")
    span.end()
    (got,) = receiver.spans
    assert (got.name, got.kind, got.service, got.parent_id) == ("process", "CONSUMER", "flights", "")
    assert got.attributes == {"a": "x", "b": 1, "c": [True, False]}
    assert [(event.name, event.attributes) for event in got.events] == [("settled", {"how": "nak"})]
    assert [(link.trace_id, link.span_id) for link in got.links] == [(f"{7:032x}", f"{9:016x}")]
    assert (got.status_code, got.status_message) == ("ERROR", "broken")
    assert got.trace_id == f"{span.get_span_context().trace_id:032x}"
    assert got.start < got.end


def test_tree_shows_children_under_their_parents_in_order_of_start(receiver: SpanReceiver, tracer: Tracer) -> None:
    with tracer.start_as_current_span("publish orders.place", kind=SpanKind.PRODUCER) as root:
        with tracer.start_as_current_span("process orders.place", kind=SpanKind.CONSUMER) as process:
            process.set_attribute("callboard.settlement", "ack")
            with tracer.start_as_current_span("reply"):
                pass
        with tracer.start_as_current_span("second"):
            pass
    lines = receiver.tree(f"{root.get_span_context().trace_id:032x}").splitlines()
    assert [line.split("  [")[0] for line in lines] == [
        "publish orders.place",
        "  process orders.place",
        "    reply",
        "  second",
    ]
    assert "[CONSUMER flights]" in lines[1]
    assert "settlement=ack" in lines[1]


def test_span_without_its_parent_is_an_orphan(receiver: SpanReceiver, tracer: Tracer) -> None:
    lost = NonRecordingSpan(SpanContext(7, 9, is_remote=True, trace_flags=None))
    with tracer.start_as_current_span("root"):
        pass
    sampled_parent = SpanContext(7, 9, is_remote=True, trace_flags=type(lost.get_span_context().trace_flags)(1))
    tracer.start_span("process", context=set_span_in_context(NonRecordingSpan(sampled_parent))).end()
    trace_id = f"{7:032x}"
    assert [span.name for span in receiver.orphans(trace_id)] == ["process"]
    assert receiver.tree(trace_id).endswith("(orphan)")
    assert all(not receiver.orphans(other) for other in receiver.traces() if other != trace_id)


def test_waiting_ends_when_the_span_arrives(receiver: SpanReceiver, tracer: Tracer) -> None:
    sender = Thread(target=lambda: tracer.start_span("late").end())
    sender.start()
    got = receiver.wait_for(lambda spans: any(span.name == "late" for span in spans))
    sender.join()
    assert [span.name for span in got] == ["late"]


def test_waiting_in_vain_says_what_did_arrive(receiver: SpanReceiver, tracer: Tracer) -> None:
    tracer.start_span("something").end()
    with pytest.raises(TimeoutError, match="received: something"):
        receiver.wait_for(lambda spans: len(spans) > 1, timeout=0.01)


@pytest.mark.parametrize(("path", "status"), [("/v1/metrics", 404), ("/v1/traces", 400)])
def test_what_is_no_trace_request_is_refused(receiver: SpanReceiver, path: str, status: int) -> None:
    connection = http.client.HTTPConnection(receiver.endpoint.removeprefix("http://"))
    connection.request("POST", path, b"\xff\xff nonsense")
    assert connection.getresponse().status == status
    connection.close()
    assert not receiver.spans
