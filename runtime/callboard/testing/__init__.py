"""What tests of actors, of transports, and of Callboard itself are made with.

`ActorTest` runs actors in a test. The conformance suite for transports is `callboard.testing.conformance`; it alone,
and the plugin that gives pytest an option and a fixture, need pytest.
"""

from __future__ import annotations

from callboard.testing.actor_test import ActorTest, StillWaitingError
from callboard.testing.features import Features
from callboard.testing.otlp import SpanReceiver
from callboard.testing.span import ReceivedSpan

__all__ = ["ActorTest", "Features", "ReceivedSpan", "SpanReceiver", "StillWaitingError"]
