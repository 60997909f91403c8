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
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from types import TracebackType
from typing import Self, cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from callboard.testing.span import (
    ReceivedSpan,
    orphans_of,
    spans_of,
    traces_of,
    tree_of,
)

__all__ = ["SpanReceiver"]


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

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace so far, in order of their start."""
        return self.traces().get(trace_id, [])

    def traces(self) -> dict[str, list[ReceivedSpan]]:
        """Trace id -> its spans, in order of their start."""
        return traces_of(self.spans)

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
        return orphans_of(self.trace(trace_id))

    def tree(self, trace_id: str) -> str:
        """The trace as text: a line for each span, children indented, in order of their start.

        Empty for an unknown trace. Orphans stand at the top level, marked.
        """
        return tree_of(self.trace(trace_id))

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        spans = list(spans_of(request.resource_spans))
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
