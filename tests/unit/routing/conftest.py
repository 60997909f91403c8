from __future__ import annotations

import pytest

from tests.unit.routing.loopback import LoopbackTransport


@pytest.fixture
async def transport() -> LoopbackTransport:
    return LoopbackTransport()
