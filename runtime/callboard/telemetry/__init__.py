"""OpenTelemetry for the runtime: one trace from a publish to its reply.

Source: OpenTelemetry semantic conventions 1.44.0, messaging (status: Development).
"""

from __future__ import annotations

from callboard.telemetry.instrumentation import OpenTelemetryInstrumentation
from callboard.telemetry.setup import Telemetry, configure_telemetry

__all__ = ["OpenTelemetryInstrumentation", "Telemetry", "configure_telemetry"]
