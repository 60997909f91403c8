"""Telemetry from the environment. Each case runs in a process of its own: a global provider is set once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from callboard.telemetry import Telemetry
from callboard.testing import SpanReceiver

PROGRAM = """
import logging, sys, time
from uuid import uuid4
logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
from opentelemetry import trace
from callboard.telemetry import OpenTelemetryInstrumentation, configure_telemetry
{before}
telemetry = configure_telemetry("flights", instance_id="worker-1")
print("on" if telemetry.provider else "off", file=sys.stderr)
OpenTelemetryInstrumentation().publish("orders.place", uuid4()).end()
{after}
started = time.monotonic()
telemetry.shutdown(2.0)
print(f"stopped in {{time.monotonic() - started:.1f}}", file=sys.stderr)
"""


def run(environment: dict[str, str], *, before: str = "", after: str = "") -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, after=after)],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )


@pytest.fixture
def receiver() -> Iterator[SpanReceiver]:
    with SpanReceiver() as receiver:
        yield receiver


@pytest.fixture
def dead_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_endpoint_alone_turns_export_on(receiver: SpanReceiver) -> None:
    run({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint})
    (span,) = receiver.spans
    assert (span.name, span.kind, span.service) == ("publish orders.place", "PRODUCER", "flights")
    assert span.resource["service.instance.id"] == "worker-1"
    assert span.resource["host.name"] == socket.gethostname()
    assert isinstance(span.resource["process.pid"], int)


def test_endpoint_for_traces_and_compression_are_honoured(receiver: SpanReceiver) -> None:
    run(
        {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{receiver.endpoint}/v1/traces",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
    )
    assert [span.name for span in receiver.spans] == ["publish orders.place"]


def test_service_name_of_the_environment_wins(receiver: SpanReceiver) -> None:
    run({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_SERVICE_NAME": "blue"})
    assert receiver.spans[0].service == "blue"


@pytest.mark.parametrize(
    "extra",
    [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}],
    ids=["disabled", "none"],
)
def test_environment_can_turn_export_off(receiver: SpanReceiver, extra: dict[str, str]) -> None:
    done = run({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint} | extra)
    assert done.stderr.startswith("off")
    assert not receiver.spans


def test_nothing_happens_without_settings_and_the_sdk_is_not_imported() -> None:
    done = run({}, after="assert 'opentelemetry.sdk.trace' not in sys.modules")
    assert done.stderr.startswith("off")


def test_provider_that_is_already_set_stays(receiver: SpanReceiver) -> None:
    done = run(
        {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint},
        before="from opentelemetry.sdk.trace import TracerProvider\n"
        "mine = TracerProvider()\ntrace.set_tracer_provider(mine)",
        after="assert trace.get_tracer_provider() is mine",
    )
    assert done.stderr.startswith("off")


def test_sampler_of_the_environment_decides(receiver: SpanReceiver) -> None:
    run({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_TRACES_SAMPLER": "always_off"})
    assert not receiver.spans


def test_console_exporter_prints_spans() -> None:
    assert '"name": "publish orders.place"' in run({"OTEL_TRACES_EXPORTER": "console"}).stdout


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER='zipkin' is not 'otlp', 'console' or 'none'",
        ),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "max_queue_size must be a positive integer"),
        ({"OTEL_BSP_SCHEDULE_DELAY": "soon"}, "OTEL_BSP_SCHEDULE_DELAY='soon' is not a whole number"),
    ],
)
def test_unusable_settings_are_logged_and_telemetry_stays_off(
    dead_endpoint: str, extra: dict[str, str], said: str
) -> None:
    done = run({"OTEL_EXPORTER_OTLP_ENDPOINT": dead_endpoint} | extra)
    assert said in done.stderr
    assert "off" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr


def test_small_queue_of_the_environment_is_accepted(receiver: SpanReceiver) -> None:
    run({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_MAX_QUEUE_SIZE": "1000"})
    assert len(receiver.spans) == 1


def test_dead_collector_delays_the_end_by_no_more_than_the_timeout(dead_endpoint: str) -> None:
    started = time.monotonic()
    done = run({"OTEL_EXPORTER_OTLP_ENDPOINT": dead_endpoint})
    assert time.monotonic() - started < 8
    assert float(done.stderr.split("stopped in ")[1]) < 2.5


def test_collector_that_never_answers_delays_the_end_by_no_more_than_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = run({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"})
    assert float(done.stderr.split("stopped in ")[1]) < 2.5
    assert "not all spans were sent within 2 s; 1 are lost" in done.stderr


def test_dead_collector_is_one_warning_line_without_a_traceback(dead_endpoint: str) -> None:
    done = run({"OTEL_EXPORTER_OTLP_ENDPOINT": dead_endpoint})
    warnings = [line for line in done.stderr.splitlines() if line.startswith(("WARNING", "ERROR"))]
    assert len([line for line in warnings if "Connection refused" in line]) == 1
    assert all(line.startswith("WARNING callboard.telemetry ") for line in warnings)
    assert "Traceback" not in done.stderr


def test_shutdown_of_what_was_not_turned_on_does_nothing() -> None:
    Telemetry().shutdown(0.0)
