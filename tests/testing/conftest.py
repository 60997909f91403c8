"""Tests that run in memory and on a real server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from callboard.testing import ActorTest

__all__ = ["Start"]

Start = Callable[..., ActorTest]


@pytest.fixture(params=["memory", "real"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Start:
    """ActorTest, on one and the other."""
    if request.param == "real":
        request.getfixturevalue("nats_binary")
    monkeypatch.setattr(ActorTest, "on_real_server", request.param == "real")
    return ActorTest
