"""A real Jaeger on loopback, and what it says that it has."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from attrs import define, field
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from callboard.embedded.process import GuardedProcess
from callboard.testing import ReceivedSpan
from callboard.testing.span import spans_of, traces_of

__all__ = ["WARNINGS", "JaegerServer"]

START_TIMEOUT = 30.0
WARNINGS = "@jaeger@warnings"
"""The attribute in which its API says what is wrong with a span: a clock that is not its parent's, a missing parent."""

_CONFIG = """
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
    logs: {{level: warn}}
extensions:
  jaeger_storage:
    backends: {{memory: {{memory: {{max_traces: 1000}}}}}}
  jaeger_query:
    storage: {{traces: memory}}
    enable_tracing: false
    http: {{endpoint: "127.0.0.1:{http}"}}
    grpc: {{endpoint: "127.0.0.1:{grpc}"}}
receivers:
  otlp:
    protocols:
      http: {{endpoint: "127.0.0.1:{otlp}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@define(eq=False)
class JaegerServer:
    """Traces in memory, OTLP over HTTP, the API; on free ports of 127.0.0.1. It ends with this process, also when that
    is killed."""

    binary: Path
    folder: Path
    otlp_port: int = field(init=False, factory=_free_port)
    api_port: int = field(init=False, factory=_free_port)
    _process: GuardedProcess = field(init=False, factory=GuardedProcess)

    @property
    def endpoint(self) -> str:
        """The value for `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self.otlp_port}"

    def start(self) -> None:
        """Returns once it takes spans and answers; `RuntimeError` with its log when it does not."""
        self.folder.mkdir(parents=True)
        config = self.folder / "jaeger.yaml"
        config.write_text(_CONFIG.format(http=self.api_port, grpc=_free_port(), otlp=self.otlp_port))
        with self._log.open("ab") as log:
            self._process.start([str(self.binary), "--config", str(config)], log=log, keep_open=log.fileno())
        begin = time.monotonic()
        while not (_takes_connections(self.otlp_port) and _takes_connections(self.api_port)):
            if not self._process.alive or time.monotonic() - begin > START_TIMEOUT:
                raise RuntimeError(f"Jaeger did not start:\n{self._log.read_text()}")
            time.sleep(0.01)

    def destroy(self) -> None:
        """End it; its traces are gone."""
        if self._process.alive:
            self._process.stop()
        self._process.close()

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace, in order of their start; none while it has not heard of it."""
        return traces_of(self._spans(f"/api/v3/traces/{trace_id}")).get(trace_id, [])

    def traces(self) -> dict[str, list[ReceivedSpan]]:
        """Trace id -> its spans, over all services that it knows."""
        now = datetime.now(UTC)
        found: dict[str, list[ReceivedSpan]] = {}
        for service in self._get("/api/v3/services").get("services", ()):
            query = {
                "query.service_name": service,
                "query.num_traces": 100,
                "query.start_time_min": (now - timedelta(hours=1)).isoformat(),
                "query.start_time_max": (now + timedelta(hours=1)).isoformat(),
            }
            found |= traces_of(self._spans(f"/api/v3/traces?{urlencode(query)}"))
        return found

    @property
    def _log(self) -> Path:
        return self.folder / "jaeger.log"

    def _spans(self, path: str) -> Iterator[ReceivedSpan]:
        data = TracesData()
        ParseDict(_with_base64_ids(self._get(path).get("result", {})), data)
        return spans_of(data.resource_spans)

    def _get(self, path: str) -> dict[str, Any]:
        """The answer to a question; empty where there is nothing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status == http.HTTPStatus.NOT_FOUND:
            return {}
        assert response.status == http.HTTPStatus.OK, body
        return cast("dict[str, Any]", json.loads(body))


def _with_base64_ids(data: Any) -> Any:
    """OTLP's JSON has ids in hexadecimal, protobuf's own JSON has all bytes in base64."""
    if isinstance(data, dict):
        fields = cast("dict[str, Any]", data)
        return {
            name: base64.b64encode(bytes.fromhex(value)).decode() if name in _IDS else _with_base64_ids(value)
            for name, value in fields.items()
        }
    return [_with_base64_ids(item) for item in cast("list[Any]", data)] if isinstance(data, list) else data


_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


def _takes_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
