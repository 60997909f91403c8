"""Turns traces and metrics on, from the environment alone (`OTEL_*`).

For programs that own their process: `callboard run`, the command line, the demonstration. The library itself
never sets global providers.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from threading import Thread
from typing import TYPE_CHECKING
from uuid import uuid4

from attrs import frozen
from opentelemetry import metrics, trace

from callboard.errors import MissingExtraError
from callboard.telemetry.metric import Metrics, is_of_the_api

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from callboard.telemetry.queue import SpanQueue
    from callboard.telemetry.reader import Meters

__all__ = ["Telemetry", "configure_telemetry"]

_log = logging.getLogger("callboard.telemetry")


@frozen
class Telemetry:
    """What `configure_telemetry` turned on."""

    provider: TracerProvider | None = None
    """Traces; None when they were not turned on."""
    queue: SpanQueue | None = None
    """Where spans wait for the collector; None when they go to none."""
    meters: Meters | None = None
    """Metrics; None when they were not turned on."""

    @property
    def dropped(self) -> int:
        """Spans that were lost so far, because they were more than the collector took or it was away."""
        return 0 if self.queue is None else self.queue.dropped

    def shutdown(self, timeout: float) -> None:
        """Send what is still queued and stop, within `timeout` seconds whatever the collector does.

        Never raises. Spans that are not sent by then are lost; how many were lost in all is logged.
        """
        meters = None if self.meters is None else self.meters.provider
        # Threads, because the SDK waits for its exporters without a bound; daemons, so that we can end.
        workers = [
            Thread(target=_stop, args=(provider,), name="callboard-telemetry-shutdown", daemon=True)
            for provider in (self.provider, meters)
            if provider is not None
        ]
        end = time.monotonic() + timeout
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))
        lost = 0 if self.queue is None else self.queue.unsent
        late = any(worker.is_alive() for worker in workers)
        if late and lost:
            _log.warning("telemetry: not all spans were sent within %g s; %d are lost", timeout, lost)
        elif late:
            _log.warning("telemetry: the last figures were not sent within %g s", timeout)
        elif lost:
            _log.warning("telemetry: %d spans did not reach the collector", lost)


def configure_telemetry(service_name: str, *, instance_id: str = "", prometheus: bool = False) -> Telemetry:
    """Set global providers of traces and of metrics that export as `OTEL_*` says; where it says nothing, do nothing.

    Each of the two stays off when `OTEL_SDK_DISABLED` is true, when a provider is already set, when
    `OTEL_TRACES_EXPORTER` or `OTEL_METRICS_EXPORTER` is `none`, or when neither it nor an OTLP endpoint is given. With
    `prometheus` there are metrics all the same, as text in `meters`. Settings that the SDK refuses are logged, and what
    they are for stays off; nothing is raised but `MissingExtraError` without Prometheus' client.

    `service_name` and `instance_id` (empty: a random one) become `service.name` and `service.instance.id`,
    unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` name others.
    """
    instance_id = instance_id or str(uuid4())
    provider, queue = _configure_traces(service_name, instance_id) or (None, None)
    meters = _configure_metrics(service_name, instance_id, prometheus=prometheus)
    if queue is not None:
        Metrics.of().dropped = lambda: queue.dropped
    return Telemetry(provider, queue, meters)


def _configure_traces(service_name: str, instance_id: str) -> tuple[TracerProvider, SpanQueue | None] | None:
    exporters = _wanted_exporters(os.environ, "TRACES")
    if not exporters or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    try:
        # Here and not above: the SDK and its exporter cost 0.1 to 0.2 s of start-up.
        from callboard.telemetry.provider import build_provider  # noqa: PLC0415

        provider, queue = build_provider(exporters, service_name, instance_id)
    except Exception as err:  # noqa: BLE001 - a wrong setting must not keep a service from starting
        _log.warning("telemetry: off, the settings in OTEL_* are not usable: %s", err)
        return None
    trace.set_tracer_provider(provider)
    return provider, queue


def _configure_metrics(service_name: str, instance_id: str, *, prometheus: bool) -> Meters | None:
    exporters = _wanted_exporters(os.environ, "METRICS")
    if not (exporters or prometheus) or not is_of_the_api(metrics.get_meter_provider()):
        return None
    try:
        from callboard.telemetry.reader import build_meters  # noqa: PLC0415 - as above

        meters = build_meters(exporters, service_name, instance_id, prometheus=prometheus)
    except MissingExtraError:
        raise
    except Exception as err:  # noqa: BLE001 - as above
        _log.warning("telemetry: no metrics, the settings in OTEL_* are not usable: %s", err)
        return None
    Metrics.of().read = True
    metrics.set_meter_provider(meters.provider)
    return meters


def _wanted_exporters(environment: Mapping[str, str], signal: str) -> list[str]:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    if names := environment.get(f"OTEL_{signal}_EXPORTER", "").strip():
        return [name for part in names.split(",") if (name := part.strip().lower()) not in ("", "none")]
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return ["otlp"] if any(environment.get(name) for name in endpoints) else []


def _stop(provider: TracerProvider | MeterProvider) -> None:
    try:
        provider.shutdown()
    except Exception as err:  # noqa: BLE001 - an exporter's error on the last metre stops nothing
        _log.warning("telemetry: shutdown failed: %s", err)
