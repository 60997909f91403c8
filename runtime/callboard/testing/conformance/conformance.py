"""What the behaviours of every suite have in common."""

from __future__ import annotations

from typing import ClassVar

import pytest

from callboard.testing.conformance.system import Connect, Messaging
from callboard.testing.features import Features, needed_by

__all__ = ["Conformance"]


class Conformance:
    """Behaviours, one test each. One whose feature is not promised is skipped, and the reason says which."""

    features: ClassVar[Features] = Features()
    """What the transport promises."""

    @pytest.fixture(autouse=True)
    def _promised(self, request: pytest.FixtureRequest) -> None:
        for feature in needed_by(request.function):
            if not getattr(self.features, feature):
                pytest.skip(f"not promised by this transport: {feature}")

    @pytest.fixture
    def connect(self) -> Connect:
        """Override: what makes transports on one message system that is empty. `TransportConformance` needs it."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture 'connect'")

    @pytest.fixture
    def messaging(self) -> Messaging:
        """Override: an empty message system. `MessagingConformance` needs it."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture 'messaging'")
