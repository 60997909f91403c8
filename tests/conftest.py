"""Fixtures for every folder of tests."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.embedded import EmbeddedServer
from callboard.embedded.binary import find_binary
from callboard.errors import MissingExtraError
from tests.faults.report import pytest_addoption, pytest_configure
from tests.postgres import postgres, postgres_server

__all__ = ["nats_binary", "nats_server", "postgres", "postgres_server", "pytest_addoption", "pytest_configure"]


@pytest.fixture(scope="session")
def nats_binary() -> Path:
    """The program `nats-server`. Without it the test is skipped, and fails where CI is true."""
    try:
        return find_binary()
    except MissingExtraError as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))


@pytest.fixture
async def nats_server(nats_binary: Path, tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A fresh server with an empty store on a port of its own."""
    async with EmbeddedServer(store=tmp_path / "nats", port=0) as server:
        yield server
