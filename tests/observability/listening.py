"""On which ports the services listen, as their commands and configurations say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise

from tests.observability.stack import JAEGER, SERVICES

__all__ = ["ADDRESSES", "listening"]

_DEFAULTS = {
    "nats": {4222},  # --port
    "prometheus": {9090},  # --web.listen-address
    "grafana": {3000},  # GF_SERVER_HTTP_PORT
}
_OPTIONS = ("--http_port", "--port", "--health-port", "--metrics-port")

ADDRESSES = re.compile(r"\b(?:https?://|nats://)?([a-z]\w*|127\.0\.0\.1):(\d{2,5})\b")
"""Host and port, with or without a scheme."""


def listening(service: str) -> set[int]:
    """Ports of a service, published or not."""
    return _DEFAULTS.get(service, set()) | set(_by_command(service)) | (_jaeger() if service == "jaeger" else set())


def _by_command(service: str) -> Iterator[int]:
    words = SERVICES[service].get("command", [])
    for option, value in pairwise(words):
        if option in _OPTIONS:
            yield int(value)


def _jaeger() -> set[int]:
    own = {int(port) for port in re.findall(r'"0\.0\.0\.0:(\d+)"', json.dumps(JAEGER))}
    readers = JAEGER["service"]["telemetry"]["metrics"]["readers"]
    return own | {reader["pull"]["exporter"]["prometheus"]["port"] for reader in readers}
