from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from uuid import UUID, uuid4

import pytest
from attrs import field, frozen
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from callboard.instrumentation import Endpoint, Span
from callboard.telemetry import OpenTelemetryInstrumentation, guard


@frozen
class Delivery:
    """A delivery as telemetry sees it."""

    headers: Mapping[str, str] = field(factory=dict[str, str])
    topic: str = "airports.EWR.delay"
    identifier: UUID = field(factory=uuid4)
    stream: str = "AIRPORTS"
    durable: str = "delay-1a2b3c4d"
    sequence: int = 42
    delivered: int = 1
    body_size: int = 17


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint(
        topic="airports.{code}.delay",
        kind="query",
        actor="Delays",
        function="Delays.delay",
        module="actors.flights",
    )


@pytest.fixture
def delivery() -> type[Delivery]:
    return Delivery


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def telemetry(provider: TracerProvider) -> OpenTelemetryInstrumentation:
    return OpenTelemetryInstrumentation(provider, server=("127.0.0.1", 4222))


@pytest.fixture(autouse=True)
def forget_warnings() -> None:
    guard.warn_once.cache_clear()  # once in the process, not in each test


@contextmanager
def _current(span: Span) -> Generator[Span]:
    token = span.enter()
    try:
        yield span
    finally:
        span.leave(token)
        span.end()


@pytest.fixture
def current() -> Callable[[Span], AbstractContextManager[Span]]:
    """Runs a block as a handler runs: inside an entered span, which ends with it."""
    return _current
