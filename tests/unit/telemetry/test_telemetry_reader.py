"""Metrics from the environment. Each case runs in a process of its own: a global provider is set once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint
from prometheus_client.parser import text_string_to_metric_families

from callboard.statistics import DURATION_BUCKETS
from callboard.telemetry.instrument import INSTRUMENTS, InstrumentKind
from callboard.testing import SpanReceiver

PROGRAM = """
import logging, sys, time
logging.basicConfig(format="%(levelname)s %(name)s %(message)s", level="INFO")
from opentelemetry import metrics
from callboard.telemetry import OpenTelemetryInstrumentation, configure_telemetry
{before}
telemetry = configure_telemetry("flights", instance_id="worker-1", prometheus={prometheus})
print("on" if telemetry.meters else "off", file=sys.stderr)
instrumentation = OpenTelemetryInstrumentation()
instrumentation.sent("publish", "orders.placed", 0.1)
{after}
started = time.monotonic()
telemetry.shutdown(2.0)
print(f"stopped in {{time.monotonic() - started:.1f}}", file=sys.stderr)
"""


EVERYTHING = """
statistics = instrumentation.statistics
mailbox = statistics.mailbox("delay-1a2b3c4d", "Delays", "airports.*.delay")
mailbox.stream = "AIRPORTS"
mailbox.settled(0.2, "ValueError", again=True)
mailbox.dead_letters["ValueError"] += 1
instrumentation.sent("publish", "orders.placed", 0.1, "NoStreamError")
statistics.restarts["Delays"] += 1
statistics.states = lambda: {("Delays", "running"): 1}
statistics.outbox_now["outbox"] = 3
print(telemetry.meters.prometheus())
"""


class MetricReceiver:
    """Accepts OTLP/HTTP metrics on a free port, and keeps the names that came to each path."""

    def __init__(self) -> None:
        self.received: list[ExportMetricsServiceRequest] = []
        receiver = self

        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/metrics":
                    receiver.received.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def services(self) -> set[str]:
        return {
            attribute.value.string_value
            for request in self.received
            for group in request.resource_metrics
            for attribute in group.resource.attributes
            if attribute.key == "service.name"
        }

    @property
    def names(self) -> set[str]:
        return {
            metric.name
            for request in self.received
            for group in request.resource_metrics
            for scope in group.scope_metrics
            for metric in scope.metrics
        }

    def histogram(self, name: str) -> list[HistogramDataPoint]:
        """The points of the last export."""
        return [
            point
            for group in self.received[-1].resource_metrics
            for scope in group.scope_metrics
            for metric in scope.metrics
            for point in metric.histogram.data_points
            if metric.name == name
        ]


@pytest.fixture
def receiver() -> Iterator[MetricReceiver]:
    receiver = MetricReceiver()
    thread = Thread(target=receiver.server.serve_forever, args=(0.01,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


def run(
    environment: dict[str, str], *, before: str = "", after: str = "", prometheus: bool = False
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, after=after, prometheus=prometheus)],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )


def test_endpoint_alone_turns_metrics_on_and_the_last_figures_are_sent_at_the_end(receiver: MetricReceiver) -> None:
    run({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint})

    assert receiver.services == {"flights"}
    assert {"messaging.client.sent.messages", "messaging.client.operation.duration"} <= receiver.names


def test_durations_are_there_once_with_what_was_counted(receiver: MetricReceiver) -> None:
    run(
        {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint},
        after='instrumentation.sent("publish", "orders.placed", 7.0)',
    )

    [point] = receiver.histogram("messaging.client.operation.duration")

    assert (point.count, round(point.sum, 3)) == (2, 7.1)
    assert tuple(point.explicit_bounds) == DURATION_BUCKETS
    limits = zip(point.explicit_bounds, point.bucket_counts, strict=False)
    assert [limit for limit, count in limits if count] == [0.1, 7.5]
    assert not point.HasField("min")
    assert {each.key: each.value.string_value for each in point.attributes} == {
        "messaging.system": "nats",
        "messaging.operation.name": "publish",
        "messaging.destination.template": "orders.placed",
    }


def test_names_and_kinds_in_prometheus_are_those_of_the_table() -> None:
    """Dashboards and alerts go by them."""
    done = run({}, prometheus=True, after=EVERYTHING)
    families = {family.name: family for family in text_string_to_metric_families(done.stdout)}

    for spec in INSTRUMENTS:
        # The parser leaves the ending of counters away.
        family = families[spec.prometheus.removesuffix("_total")]
        assert family.type == spec.kind.value
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert labels == {name.replace(".", "_") for name in spec.attributes}
        if spec.kind is InstrumentKind.COUNTER:
            assert {sample.name for sample in family.samples} == {spec.prometheus}
    assert done.stdout.count("# TYPE messaging_process_duration_seconds histogram") == 1


def test_endpoint_of_metrics_alone_turns_no_traces_on(receiver: MetricReceiver) -> None:
    run(
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{receiver.endpoint}/v1/metrics"},
        after="assert telemetry.provider is None",
    )

    assert "messaging.client.sent.messages" in receiver.names


def test_interval_of_the_environment_counts(receiver: MetricReceiver) -> None:
    """More than the one export of the end."""
    run(
        {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "50"},
        after="time.sleep(0.5)",
    )

    assert len(receiver.received) > 2


@pytest.mark.parametrize(
    "extra", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_METRICS_EXPORTER": "none"}], ids=["disabled", "none"]
)
def test_environment_can_turn_metrics_off(receiver: MetricReceiver, extra: dict[str, str]) -> None:
    done = run({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint} | extra)

    assert done.stderr.startswith("off")
    assert not receiver.received


def test_nothing_happens_without_settings_and_the_sdk_is_not_imported() -> None:
    done = run({}, after="assert 'opentelemetry.sdk.metrics' not in sys.modules")

    assert done.stderr.startswith("off")


def test_meter_provider_that_is_already_set_stays(receiver: MetricReceiver) -> None:
    done = run(
        {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint},
        before="from opentelemetry.sdk.metrics import MeterProvider\n"
        "mine = MeterProvider()\nmetrics.set_meter_provider(mine)",
        after="assert metrics.get_meter_provider() is mine",
    )

    assert done.stderr.startswith("off")
    assert not receiver.received


def test_console_exporter_prints_metrics() -> None:
    assert "messaging.client.sent.messages" in run({"OTEL_METRICS_EXPORTER": "console"}).stdout


def test_unknown_exporter_is_logged_and_metrics_stay_off(receiver: MetricReceiver) -> None:
    done = run({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_METRICS_EXPORTER": "statsd"})

    assert "OTEL_METRICS_EXPORTER='statsd' is not 'otlp', 'console' or 'none'" in done.stderr
    assert "off" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr


def test_endpoint_that_takes_traces_alone_is_told_of_once_and_quietly() -> None:
    """Jaeger's: it answers 404 to metrics."""
    with SpanReceiver() as jaeger:
        done = run(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "50"},
            after="time.sleep(0.5)",
        )

    [line] = [line for line in done.stderr.splitlines() if "404" in line]
    assert line.startswith("INFO callboard.telemetry")
    assert "OTEL_METRICS_EXPORTER=none" in line
    assert "WARNING" not in done.stderr


def test_dead_collector_delays_the_end_by_no_more_than_the_timeout() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}"
    started = time.monotonic()

    done = run({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{dead}/v1/metrics"})

    assert time.monotonic() - started < 10
    assert float(done.stderr.split("stopped in ")[1]) < 2.5
    assert "Traceback" not in done.stderr
