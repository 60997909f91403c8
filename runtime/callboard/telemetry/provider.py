"""A tracer provider that suits a message runtime: many short spans, and a collector that may be away."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterable
from functools import cache

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.util.types import AttributeValue

from callboard.errors import ConfigError, did_you_mean
from callboard.telemetry.queue import RoomSampler, SpanQueue

__all__ = ["build_provider", "quiet_sdk", "resource_of"]

_QUEUE_SPANS = 65_536
_BATCH_SPANS = 4_096
_DELAY_MILLISECONDS = 1_000
"""Of 10,000 spans a second the SDK's own settings (2,048 and 512 spans, 5 s) dropped 54 %, these none."""

_QUIET_SECONDS = 60.0

_log = logging.getLogger("callboard.telemetry")


def build_provider(
    exporters: Iterable[str], service_name: str, instance_id: str
) -> tuple[TracerProvider, SpanQueue | None]:
    """A provider for the exporters `otlp` (OTLP over HTTP) and `console`; the SDK chooses the sampler from
    `OTEL_TRACES_SAMPLER`. With it the queue of `otlp`, if that is among them.

    `ConfigError` for any other exporter; what the SDK raises for its own settings.
    """
    processors = [_processor(name) for name in exporters]
    # No hook at exit: it would wait for a dead collector. Who configures telemetry shuts it down, bounded.
    provider = TracerProvider(resource=resource_of(service_name, instance_id), shutdown_on_exit=False)
    queue = next((processor for processor in processors if isinstance(processor, SpanQueue)), None)
    if queue is not None:
        # Around the one that the SDK has read from the environment, before there is a tracer that knows it.
        provider.sampler = RoomSampler(provider.sampler, queue)
    for processor in processors:
        provider.add_span_processor(processor)
    quiet_sdk()
    return provider, queue


def _processor(exporter: str) -> SpanProcessor:
    match exporter:
        case "otlp":
            limit = _number(OTEL_BSP_MAX_QUEUE_SIZE, _QUEUE_SPANS)
            return SpanQueue(
                OTLPSpanExporter(),
                limit,
                # A queue that someone made small must not meet a batch that is larger.
                batch=_number(OTEL_BSP_MAX_EXPORT_BATCH_SIZE, min(limit, _BATCH_SPANS)),
                delay_milliseconds=_number(OTEL_BSP_SCHEDULE_DELAY, _DELAY_MILLISECONDS),
            )
        case "console":
            return SimpleSpanProcessor(ConsoleSpanExporter())
        case _:
            hint = did_you_mean(exporter, ("otlp", "console", "none"))
            raise ConfigError(f"OTEL_TRACES_EXPORTER={exporter!r} is not 'otlp', 'console' or 'none'{hint}")


def _number(name: str, value: int) -> int:
    """What the environment says, else our own. Raises `ConfigError`."""
    text = os.environ.get(name, "").strip()
    try:
        return int(text) if text else value
    except ValueError:
        raise ConfigError(f"{name}={text!r} is not a whole number") from None


def resource_of(service_name: str, instance_id: str) -> Resource:
    """Who this process is, in traces and metrics alike."""
    attributes: dict[str, AttributeValue] = {
        "service.name": service_name,
        "service.instance.id": instance_id,
        "host.name": socket.gethostname(),  # without it Jaeger corrects a clock skew that is not there
        "process.pid": os.getpid(),
    }
    return Resource.create(attributes).merge(OTELResourceDetector().detect())


class _OneLine(logging.Handler):
    """Says what the SDK complains about in one line of our own log, at most once a minute for each of its
    loggers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now - self._said.get(record.name, -_QUIET_SECONDS) < _QUIET_SECONDS:
            return
        self._said[record.name] = now
        _log.warning("telemetry: %s", record.getMessage().splitlines()[0])


@cache
def quiet_sdk() -> None:
    """The exporter logs each retry and tracebacks of whole connection stacks, and the propagator every header of a
    sender that it does not understand: not what an operator needs."""
    handler = _OneLine()
    for name in ("exporter", "sdk", "baggage", "trace"):
        logger = logging.getLogger(f"opentelemetry.{name}")
        logger.addHandler(handler)
        logger.propagate = False
