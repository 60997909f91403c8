"""What tests of actors, of transports, and of Callboard itself are made with.

The conformance suite for transports is `callboard.testing.conformance`; it alone needs pytest.
"""

from __future__ import annotations

from callboard.testing.features import Features
from callboard.testing.otlp import SpanReceiver
from callboard.testing.span import ReceivedSpan

__all__ = ["Features", "ReceivedSpan", "SpanReceiver"]
