"""Brokers and subscribers with the settings that FastStream's documentation recommends for speed."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.opentelemetry import NatsTelemetryMiddleware
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from benchmarks.spans import Counting
from benchmarks.work import Figures, Work

__all__ = ["open_broker", "subscription"]

BATCH = 500
SHORT = 0.2
"""Seconds until a batch that does not fill up is handled all the same."""


def subscription(work: Work, mode: str) -> dict[str, object]:
    """Arguments of `broker.subscriber`: `push`, `pull` (a call for each message) or `batch` (a call for each pull)."""
    arguments: dict[str, object] = {
        "subject": work.topic,
        "stream": JStream(work.stream, declare=False),
        "durable": f"{work.stream}-faststream",
        "config": ConsumerConfig(
            ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.ALL, max_ack_pending=10_000
        ),
    }
    if mode != "push":
        arguments["pull_sub"] = PullSub(batch_size=BATCH, timeout=SHORT, batch=mode == "batch")
    if "concurrency" in work.options:
        arguments["max_workers"] = work.number("concurrency")
    return arguments


@asynccontextmanager
async def open_broker(work: Work) -> AsyncGenerator[tuple[NatsBroker, Figures]]:
    """A broker that is not started yet, with FastStream's own telemetry where spans have a place to go; the figures
    get `spans` at the end."""
    figures: Figures = {}
    if not work.sink:
        yield NatsBroker(work.url, logger=None), figures
        return
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = work.sink
    provider = TracerProvider(resource=Resource.create({"service.name": work.stream}))
    counting = Counting()
    provider.add_span_processor(counting)
    # The queue that Callboard takes by default: with the SDK's own settings more than half would be dropped.
    provider.add_span_processor(
        BatchSpanProcessor(
            OTLPSpanExporter(), max_queue_size=65_536, max_export_batch_size=4_096, schedule_delay_millis=1_000
        )
    )
    middleware = NatsTelemetryMiddleware(tracer_provider=provider)
    yield NatsBroker(work.url, logger=None, middlewares=[middleware]), figures
    provider.shutdown()
    figures["spans"] = counting.spans
