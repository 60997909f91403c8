"""A meter provider, and who reads it: a collector, the console, or Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from attrs import frozen
from opentelemetry.exporter.otlp.proto.http import metric_exporter
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

from callboard.errors import ConfigError, MissingExtraError, did_you_mean
from callboard.telemetry.duration import ConsoleExporter, DurationFamilies, OTLPExporter
from callboard.telemetry.provider import quiet_sdk, resource_of

__all__ = ["Meters", "build_meters"]

_log = logging.getLogger("callboard.telemetry")


@frozen
class Meters:
    """A meter provider, and what Prometheus is to get of it."""

    provider: MeterProvider
    prometheus: Callable[[], str] | None = None
    """All metrics in Prometheus' text format; None: nobody asked for it. Takes milliseconds; for any thread."""


def build_meters(exporters: Iterable[str], service_name: str, instance_id: str, *, prometheus: bool = False) -> Meters:
    """A provider for the exporters `otlp` (OTLP over HTTP) and `console`, every `OTEL_METRIC_EXPORT_INTERVAL`
    milliseconds (60,000 unless set).

    `ConfigError` for any other exporter, `MissingExtraError` when Prometheus' client is not installed; what the SDK
    raises for its own settings.
    """
    readers = [_reader(name) for name in exporters]
    text: Callable[[], str] | None = None
    if prometheus:
        reader, text = _prometheus()
        readers.append(reader)
    provider = MeterProvider(
        readers,
        resource_of(service_name, instance_id),
        # They would look for a current span at each record; durations are recorded when it has ended.
        exemplar_filter=AlwaysOffExemplarFilter(),
        # No hook at exit: it would wait for a dead collector. Who configures telemetry shuts it down, bounded.
        shutdown_on_exit=False,
    )
    quiet_sdk()
    return Meters(provider, text)


def _reader(exporter: str) -> MetricReader:
    match exporter:
        case "otlp":
            logging.getLogger(metric_exporter.__name__).addFilter(_NotTaken())
            return PeriodicExportingMetricReader(OTLPExporter())
        case "console":
            return PeriodicExportingMetricReader(ConsoleExporter())
        case _:
            hint = did_you_mean(exporter, ("otlp", "console", "none"))
            raise ConfigError(f"OTEL_METRICS_EXPORTER={exporter!r} is not 'otlp', 'console' or 'none'{hint}")


def _prometheus() -> tuple[MetricReader, Callable[[], str]]:
    try:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("metrics for Prometheus", "prometheus") from error
    registry = CollectorRegistry()
    registry.register(DurationFamilies())
    # The scope is the same everywhere and says nothing.
    reader = PrometheusMetricReader(scope_info_enabled=False, registry=registry)
    return reader, lambda: generate_latest(registry).decode()


class _NotTaken(logging.Filter):
    """Says once that an endpoint takes no metrics. `OTEL_EXPORTER_OTLP_ENDPOINT` is for all signals, and Jaeger, which
    takes traces alone, answers 404 to this one."""

    def __init__(self) -> None:
        super().__init__()
        self._said = False

    def filter(self, record: logging.LogRecord) -> bool:
        if not (isinstance(record.args, tuple) and record.args[:2] == ("metrics", 404)):
            return True
        if not self._said:
            self._said = True
            _log.info("telemetry: the endpoint takes no metrics (404); OTEL_METRICS_EXPORTER=none stops asking")
        return False
