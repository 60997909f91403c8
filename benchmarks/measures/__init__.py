"""What is measured, one module each."""

from __future__ import annotations

from benchmarks.measure import Measure
from benchmarks.measures import concurrent, drain, latency, publish, request

__all__ = ["MEASURES"]

MEASURES: dict[str, Measure] = {
    module.MEASURE.name: module.MEASURE for module in (drain, concurrent, request, latency, publish)
}
