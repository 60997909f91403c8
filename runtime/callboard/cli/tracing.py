"""Spans of the commands that send."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from callboard.telemetry import configure_telemetry

__all__ = ["traced"]

SHUTDOWN = 2.0
"""Seconds to wait for the last spans to be exported."""


@contextmanager
def traced() -> Generator[None]:
    """Export spans as `OTEL_*` says, and flush them at the end."""
    telemetry = configure_telemetry("callboard")
    try:
        yield
    finally:
        telemetry.shutdown(SHUTDOWN)
