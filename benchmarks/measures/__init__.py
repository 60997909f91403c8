"""What is measured, one module each."""

from __future__ import annotations

from benchmarks.measure import Measure
from benchmarks.measures import (
    concurrent,
    count,
    drain,
    idle,
    latency,
    memory,
    publish,
    request,
    size,
    slow,
    tracing,
    workers,
)

__all__ = ["MEASURES"]

MEASURES: dict[str, Measure] = {
    module.MEASURE.name: module.MEASURE
    for module in (
        drain,
        concurrent,
        request,
        latency,
        publish,
        tracing,
        workers,
        slow,
        idle,
        memory,
        count,
        size,
    )
}
