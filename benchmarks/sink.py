"""A receiver of spans in a process of its own: it keeps what arrives and counts only when it is asked, so that it costs
little while somebody is measured."""

from __future__ import annotations

import asyncio
import gzip
import sys
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from attrs import frozen
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Sink"]


@frozen
class Sink:
    """OTLP over HTTP on loopback."""

    url: str

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator[Sink]:
        """Start it, and stop it afterwards."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.sink", stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None  # noqa: S101 - PIPE was asked for
            yield cls((await process.stdout.readline()).decode().strip())
        finally:
            process.kill()
            await process.wait()

    async def received(self) -> int:
        """How many spans have arrived."""

        def ask() -> int:
            with urllib.request.urlopen(self.url) as answer:  # noqa: S310 - our own address
                return int(answer.read())

        return await asyncio.to_thread(ask)


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bodies: list[bytes] = []  # noqa: RUF012 - one server in this process

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(str(sum(map(_spans, self.bodies))).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Nothing."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _spans(body: bytes) -> int:
    request = ExportTraceServiceRequest.FromString(body)
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


def main() -> None:
    """Print the address and serve until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Requests)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
