"""What a worker makes of its orders."""

from __future__ import annotations

from callboard.config import TelemetrySettings
from callboard.system.worker import telemetry_variables


def test_nothing_configured_says_nothing_to_telemetry() -> None:
    assert telemetry_variables(TelemetrySettings(), {}) == {}


def test_configured_telemetry_is_said_in_the_words_of_opentelemetry() -> None:
    settings = TelemetrySettings(enabled=False, endpoint="http://collector:4318", ratio=0.25)

    assert telemetry_variables(settings, {}) == {
        "OTEL_SDK_DISABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
    }


def test_environment_is_stronger_than_configured_telemetry() -> None:
    """Also where one variable only makes sense with another."""
    settings = TelemetrySettings(enabled=False, endpoint="http://collector:4318", ratio=0.25)
    environment = {
        "OTEL_SDK_DISABLED": "false",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://other:4318",
        "OTEL_TRACES_SAMPLER": "always_on",
    }

    assert telemetry_variables(settings, environment) == {}
