"""What tests of actors and of Callboard itself are made with."""

from __future__ import annotations

from callboard.testing.otlp import ReceivedSpan, SpanReceiver

__all__ = ["ReceivedSpan", "SpanReceiver"]
