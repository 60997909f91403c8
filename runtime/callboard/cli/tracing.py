"""Spans of the commands that send."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from callboard.telemetry import Telemetry, configure_telemetry
from callboard.telemetry.jaeger import trace_address

__all__ = ["traced"]

SHUTDOWN = 2.0
"""Seconds to wait for the last spans to be exported."""


@contextmanager
def traced() -> Generator[None]:
    """Export spans as `OTEL_*` says, and flush them at the end.

    Where a trace was recorded and `CALLBOARD_JAEGER_URL` is set, the address of its page goes to standard error, also
    when the command fails.
    """
    telemetry = configure_telemetry("callboard")
    recorded = _recorded(telemetry)
    try:
        yield
    finally:
        telemetry.shutdown(SHUTDOWN)
        for address in filter(None, map(trace_address, recorded)):
            sys.stderr.write(f"trace: {address}\n")


def _recorded(telemetry: Telemetry) -> Iterable[str]:
    """The traces that are recorded from now on."""
    if telemetry.provider is None:
        return ()
    from callboard.telemetry.recorded import RecordedTraces  # noqa: PLC0415 - without telemetry, no SDK

    telemetry.provider.add_span_processor(traces := RecordedTraces())
    return traces.ids
