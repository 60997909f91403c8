"""A small OTLP collector on loopback, to see in a test (or a demonstration) which traces a program made.

with SpanReceiver() as receiver:
    run_program(env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint})
    receiver.wait_for(lambda spans: any(span.name == "reply" for span in spans))
"""

# protobuf ships no annotations, so each field of its messages counts as partly unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from types import TracebackType
from typing import Self, cast

from attrs import frozen
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

__all__ = ["AttributeValue", "ReceivedEvent", "ReceivedLink", "ReceivedSpan", "SpanReceiver"]

AttributeValue = str | bool | int | float | bytes | list["AttributeValue"] | dict[str, "AttributeValue"] | None

_SHOWN = (
    "messaging.nats.message.delivery_count",
    "callboard.settlement",
    "callboard.failure.class",
    "error.type",
)


@frozen
class ReceivedEvent:
    name: str
    time: int
    """Nanoseconds since 1970."""
    attributes: dict[str, AttributeValue]


@frozen
class ReceivedLink:
    trace_id: str
    span_id: str


@frozen
class ReceivedSpan:
    """A span as a collector sees it. Times are nanoseconds since 1970, ids are hexadecimal."""

    name: str
    kind: str
    """`INTERNAL`, `SERVER`, `CLIENT`, `PRODUCER` or `CONSUMER`."""
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the root of a trace."""
    start: int
    end: int
    attributes: dict[str, AttributeValue]
    events: list[ReceivedEvent]
    links: list[ReceivedLink]
    status_code: str
    """`UNSET`, `OK` or `ERROR`."""
    status_message: str
    service: str
    """The resource's `service.name`."""
    resource: dict[str, AttributeValue]


class SpanReceiver:
    """Accepts OTLP/HTTP traces (protobuf, also compressed) on a free port of 127.0.0.1.

    Listens while its `with` block is open; what was received stays readable afterwards.
    """

    def __init__(self) -> None:
        self._spans: list[ReceivedSpan] = []
        self._arrived = Condition()
        self._server = _Server(self._take)
        self._thread = Thread(target=self._server.serve_forever, name="span-receiver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """The value for `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def spans(self) -> list[ReceivedSpan]:
        """A copy of what has arrived so far, in order of arrival."""
        with self._arrived:
            return list(self._spans)

    def traces(self) -> dict[str, list[ReceivedSpan]]:
        """Trace id -> its spans, in order of their start."""
        found: dict[str, list[ReceivedSpan]] = {}
        for span in sorted(self.spans, key=lambda span: span.start):
            found.setdefault(span.trace_id, []).append(span)
        return found

    def wait_for(self, predicate: Callable[[list[ReceivedSpan]], bool], timeout: float = 10.0) -> list[ReceivedSpan]:
        """Block until `predicate` holds for all spans so far, and return these.

        `TimeoutError` after `timeout` seconds, with the names of the spans that did arrive.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: predicate(list(self._spans)), timeout):
                names = ", ".join(sorted(span.name for span in self._spans)) or "none"
                raise TimeoutError(f"the expected spans did not arrive within {timeout:g} s; received: {names}")
            return list(self._spans)

    def orphans(self, trace_id: str) -> list[ReceivedSpan]:
        """Spans whose parent is not among the trace's spans (roots are none)."""
        spans = self.traces().get(trace_id, [])
        known = {span.span_id for span in spans}
        return [span for span in spans if span.parent_id and span.parent_id not in known]

    def tree(self, trace_id: str) -> str:
        """The trace as text: a line for each span, children indented, in order of their start.

        Empty for an unknown trace. Orphans stand at the top level, marked.
        """
        orphans = self.orphans(trace_id)
        spans = self.traces().get(trace_id, [])
        children: dict[str, list[ReceivedSpan]] = {}
        for span in spans:
            children.setdefault("" if span in orphans else span.parent_id, []).append(span)

        def lines(parent_id: str, depth: int) -> Iterator[str]:
            for span in children.get(parent_id, ()):
                yield f"{'  ' * depth}{_line(span)}{'  (orphan)' if span in orphans else ''}"
                yield from lines(span.span_id, depth + 1)

        return "\n".join(lines("", 0))

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        spans = list(_received(request))
        with self._arrived:
            self._spans.extend(spans)
            self._arrived.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.take = take
        super().__init__(("127.0.0.1", 0), _Requests)


class _Requests(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/traces":
            self._answer(404)
            return
        try:
            server = cast("_Server", self.server)
            server.take(_decompressed(body, self.headers.get("Content-Encoding", "")))
        except Exception:  # noqa: BLE001 - whatever is wrong with a request is the sender's to know
            self._answer(400)
            return
        self._answer(200, ExportTraceServiceResponse().SerializeToString())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Nothing: requests are no news."""

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _decompressed(body: bytes, encoding: str) -> bytes:
    match encoding:
        case "gzip":
            return gzip.decompress(body)
        case "deflate":
            return zlib.decompress(body)
        case _:
            return body


def _received(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _span(span, resource)


def _span(span: WireSpan, resource: dict[str, AttributeValue]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        events=[
            ReceivedEvent(event.name, event.time_unix_nano, _attributes(event.attributes)) for event in span.events
        ],
        links=[ReceivedLink(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        status_code=Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        status_message=span.status.message,
        service=str(resource.get("service.name", "")),
        resource=resource,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> AttributeValue:
    match value.WhichOneof("value"):
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case str() as field:
            plain: AttributeValue = getattr(value, field)
            return plain
        case _:
            return None


def _line(span: ReceivedSpan) -> str:
    status = span.status_code if span.status_code != "UNSET" else "ok"
    milliseconds = (span.end - span.start) / 1e6
    facts = [f"{name.split('.')[-1]}={span.attributes[name]!s}" for name in _SHOWN if name in span.attributes]
    return "  ".join([span.name, f"[{span.kind} {span.service}]", f"{milliseconds:.1f} ms", status, *facts])
