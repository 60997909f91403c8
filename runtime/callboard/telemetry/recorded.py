"""Which traces a process records."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from callboard.telemetry.propagation import sampled

__all__ = ["RecordedTraces"]


class RecordedTraces(SpanProcessor):
    """Remembers the ids of the traces with a span that is exported. For processes that end soon: it forgets none."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        """32 hexadecimal digits each, in order."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """Note the trace of a span."""
        if sampled(context := span.get_span_context()):
            self.ids[trace.format_trace_id(context.trace_id)] = None
