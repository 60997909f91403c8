"""What every transport must do, as tests that its author runs.

Subclass `TransportConformance` and `MessagingConformance` in a test module and override their fixtures. Needs pytest
and pytest-asyncio in auto mode.
"""

from __future__ import annotations

from callboard.errors import MissingExtraError

try:
    import pytest
except ImportError as error:
    raise MissingExtraError("the conformance suite", "testing") from error

pytest.register_assert_rewrite(
    "callboard.testing.conformance.answering",
    "callboard.testing.conformance.delivering",
    "callboard.testing.conformance.grouping",
    "callboard.testing.conformance.handling",
    "callboard.testing.conformance.receiving",
    "callboard.testing.conformance.sending",
    "callboard.testing.conformance.stopping",
    "callboard.testing.conformance.transport",
)

from callboard.testing.conformance.conformance import Conformance  # noqa: E402 - what is rewritten is imported later
from callboard.testing.conformance.messaging import MessagingConformance  # noqa: E402
from callboard.testing.conformance.system import Connect, Messaging  # noqa: E402
from callboard.testing.conformance.transport import TransportConformance  # noqa: E402

__all__ = ["Conformance", "Connect", "Messaging", "MessagingConformance", "TransportConformance"]
