"""What pytest gets from Callboard, wherever it is installed: an option and a fixture.

Imports little: it is loaded by every run of pytest.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from callboard.embedded import EmbeddedServer

__all__ = ["nats_server", "pytest_addoption", "pytest_configure"]

OPTION = "--callboard-server"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--callboard-server=memory|real`."""
    parser.getgroup("callboard").addoption(
        OPTION,
        choices=("memory", "real"),
        default="memory",
        help="Where ActorTest runs actors: in memory with a virtual clock (default), or each test on a NATS server of "
        "its own, in real time; needs the extra 'embedded' or a nats-server on PATH.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell `ActorTest` what was chosen."""
    if config.getoption(OPTION) == "real":
        from callboard.testing.actor_test import ActorTest  # noqa: PLC0415 - only where it is wanted

        ActorTest.on_real_server = True


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A NATS server of the test's own, with JetStream, an empty store and a free port. Without the program
    `nats-server` the test is skipped, and fails where `CI` is `true`."""
    from callboard.embedded import EmbeddedServer  # noqa: PLC0415
    from callboard.embedded.binary import find_binary  # noqa: PLC0415
    from callboard.errors import MissingExtraError  # noqa: PLC0415

    try:
        find_binary()
    except MissingExtraError as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
    async with EmbeddedServer(store=tmp_path / "nats", port=0) as server:
        yield server
