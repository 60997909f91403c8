"""Two collectors that must have the same traces: a real Jaeger, and the receiver that all other tests use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from callboard.testing import SpanReceiver
from tests.jaeger.binary import binary_path, find_go
from tests.jaeger.server import JaegerServer


@pytest.fixture(scope="session")
def jaeger_binary() -> Path:
    """The program `jaeger`. Without it the test is skipped, and fails where CI is true and Go could have built it."""
    path = binary_path()
    if not path.exists():
        mandatory = os.environ.get("CI") == "true" and find_go() is not None
        (pytest.fail if mandatory else pytest.skip)("no Jaeger; 'make jaeger' builds it where there is Go")
    return path


@pytest.fixture
def jaeger(jaeger_binary: Path, tmp_path: Path) -> Iterator[JaegerServer]:
    server = JaegerServer(jaeger_binary, tmp_path / "jaeger")
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture
def receiver() -> Iterator[SpanReceiver]:
    with SpanReceiver() as receiver:
        yield receiver
