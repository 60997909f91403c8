"""Telemetry as `callboard run` turns it on, with the spans counted."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from benchmarks.spans import Counting
from benchmarks.work import Figures, Work
from callboard.telemetry import configure_telemetry

__all__ = ["tracing"]

NOBODY = "http://127.0.0.1:9"
"""The discard port: nobody listens there."""
FLUSH = 60.0
"""Seconds for sending what is still queued at the end; they are not measured."""


@asynccontextmanager
async def tracing(work: Work) -> AsyncGenerator[Figures]:
    """Trace the part of the messages that the option `sampled` says, where spans have a place to go; the figures get
    `spans` at the end."""
    figures: Figures = {}
    if work.options.get("collector") == "down":
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = NOBODY
        telemetry = configure_telemetry(work.stream.lower())
        yield figures
        telemetry.shutdown(0.1)
        return
    if not work.sink:
        yield figures
        return
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = work.sink
    os.environ["OTEL_METRICS_EXPORTER"] = "none"  # FastStream's telemetry has none here either
    os.environ["OTEL_TRACES_SAMPLER"] = "parentbased_traceidratio"
    os.environ["OTEL_TRACES_SAMPLER_ARG"] = str(work.options["sampled"])
    telemetry = configure_telemetry(work.stream.lower())
    counting = Counting()
    if telemetry.provider is not None:
        telemetry.provider.add_span_processor(counting)
    yield figures
    telemetry.shutdown(FLUSH)
    figures["spans"] = counting.spans
