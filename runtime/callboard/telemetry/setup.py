"""Turns telemetry on, from the environment alone (`OTEL_*`).

For programs that own their process: `callboard run`, the command line, the demonstration. The library itself
never sets global providers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from threading import Thread
from typing import TYPE_CHECKING
from uuid import uuid4

from attrs import frozen
from opentelemetry import trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from callboard.telemetry.queue import SpanQueue

__all__ = ["Telemetry", "configure_telemetry"]

_log = logging.getLogger("callboard.telemetry")


@frozen
class Telemetry:
    """What `configure_telemetry` turned on."""

    provider: TracerProvider | None = None
    """None: nothing was turned on, and `shutdown` does nothing."""
    queue: SpanQueue | None = None
    """Where spans wait for the collector; None when they go to none."""

    @property
    def dropped(self) -> int:
        """Spans that were lost so far, because they were more than the collector took or it was away."""
        return 0 if self.queue is None else self.queue.dropped

    def shutdown(self, timeout: float) -> None:
        """Send what is still queued and stop, within `timeout` seconds whatever the collector does.

        Never raises. Spans that are not sent by then are lost; how many were lost in all is logged.
        """
        if self.provider is None:
            return
        # A thread, because the SDK waits for its exporter without a bound; a daemon, so that we can end.
        worker = Thread(target=_stop, args=(self.provider,), name="callboard-telemetry-shutdown", daemon=True)
        worker.start()
        worker.join(timeout)
        lost = 0 if self.queue is None else self.queue.unsent
        if worker.is_alive():
            _log.warning("telemetry: not all spans were sent within %g s; %d are lost", timeout, lost)
        elif lost:
            _log.warning("telemetry: %d spans did not reach the collector", lost)


def configure_telemetry(service_name: str, *, instance_id: str = "") -> Telemetry:
    """Set a global tracer provider that exports as `OTEL_*` says; in all other cases do nothing.

    Nothing happens when `OTEL_SDK_DISABLED` is true, when a provider is already set, when
    `OTEL_TRACES_EXPORTER` is `none`, or when neither it nor an OTLP endpoint is given. Settings that the SDK
    refuses are logged, and nothing happens either; nothing is raised.

    `service_name` and `instance_id` (empty: a random one) become `service.name` and `service.instance.id`,
    unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` name others.
    """
    exporters = _wanted_exporters(os.environ)
    if not exporters or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return Telemetry()
    try:
        # Here and not above: the SDK and its exporter cost 0.1 to 0.2 s of start-up.
        from callboard.telemetry.provider import build_provider  # noqa: PLC0415

        provider, queue = build_provider(exporters, service_name, instance_id or str(uuid4()))
    except Exception as err:  # noqa: BLE001 - a wrong setting must not keep a service from starting
        _log.warning("telemetry: off, the settings in OTEL_* are not usable: %s", err)
        return Telemetry()
    trace.set_tracer_provider(provider)
    return Telemetry(provider, queue)


def _wanted_exporters(environment: Mapping[str, str]) -> list[str]:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    if names := environment.get("OTEL_TRACES_EXPORTER", "").strip():
        return [name for part in names.split(",") if (name := part.strip().lower()) not in ("", "none")]
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return ["otlp"] if any(environment.get(name) for name in endpoints) else []


def _stop(provider: TracerProvider) -> None:
    try:
        provider.shutdown()
    except Exception as err:  # noqa: BLE001 - an exporter's error on the last metre stops nothing
        _log.warning("telemetry: shutdown failed: %s", err)
