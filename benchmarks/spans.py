"""How many spans a contender made, to be compared with those that arrived."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

__all__ = ["Counting"]


class Counting(SpanProcessor):
    """Counts those that ended."""

    def __init__(self) -> None:
        self.spans = 0

    def on_end(self, span: ReadableSpan) -> None:  # noqa: ARG002 - the SDK's signature
        """Another one."""
        self.spans += 1
