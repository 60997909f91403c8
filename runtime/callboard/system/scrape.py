"""Metrics for Prometheus from all workers of a parent: the parent asks them, puts their answers together, and has the
only port."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from callboard.errors import MissingExtraError
from callboard.system.process import WorkerProcess
from callboard.system.web import Response

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["Scrape", "check_prometheus", "merged"]

WORKER = "worker"
"""The label that says which worker counted."""


def check_prometheus(feature: str) -> None:
    """Raises `MissingExtraError` when Prometheus' client or OpenTelemetry's exporter for it is not installed."""
    if any(find_spec(name) is None for name in ("prometheus_client", "opentelemetry.exporter.prometheus")):
        raise MissingExtraError(feature, "prometheus")


class Scrape:
    """What Prometheus gets from the workers that are alive: each of `expected` at most once.

    A worker that does not answer within 1 s is left out; `callboard_workers_answered` says how many did.
    """

    def __init__(self, workers: Collection[WorkerProcess], expected: int) -> None:
        self._workers = workers
        self._expected = expected
        self._turn = asyncio.Lock()

    async def page(self) -> Response:
        """Ask, and put the answers together in a thread: there may be many."""
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4  # noqa: PLC0415

        async with self._turn:
            ready = [worker for worker in self._workers if worker.is_ready]
            answers = await asyncio.gather(*(worker.metrics() for worker in ready))
        texts = {str(w.number): text for w, text in zip(ready, answers, strict=True) if text is not None}
        body = await asyncio.to_thread(merged, texts, self._expected)
        return Response(body, content_type=CONTENT_TYPE_PLAIN_0_0_4)


def merged(texts: Mapping[str, str], expected: int) -> bytes:
    """The metrics of several workers, by their names, as one text; each sample says whose it is."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([*_families(texts), *_answered(len(texts), expected)]))
    return generate_latest(registry)


class _Families:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        yield from self._families


def _families(texts: Mapping[str, str]) -> Iterable[Metric]:
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

    found: dict[str, Metric] = {}
    for worker, text in texts.items():
        for family in text_string_to_metric_families(text):
            known = found.setdefault(family.name, family)
            samples = [sample._replace(labels={**sample.labels, WORKER: worker}) for sample in family.samples]
            if known is family:
                family.samples = samples
            else:
                known.samples += samples
    return found.values()


def _answered(answered: int, expected: int) -> list[Metric]:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

    return [
        GaugeMetricFamily("callboard_workers", "Worker processes that are to run", value=expected),
        GaugeMetricFamily("callboard_workers_answered", "Worker processes whose figures are here", value=answered),
    ]
