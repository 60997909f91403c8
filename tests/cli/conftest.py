"""The command `callboard` in a folder with a small service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.embedded import EmbeddedServer
from tests.cli.command import CommandLine, command_line

SERVICE = '''
import asyncio
from pathlib import Path
from callboard import Actor, BrokerRequest, BrokerResponseException, command, query


class Orders(Actor):
    """Works until the file `go` exists."""

    concurrency = 4

    @query("orders.add")
    async def add(self, numbers: list[int]) -> int:
        return sum(numbers)

    @query("orders.headers")
    async def headers(self, request: BrokerRequest) -> dict[str, str]:
        return request.headers

    @query("orders.refuse")
    async def refuse(self) -> None:
        raise BrokerResponseException("no nuts left", status=409)

    @command("orders.slow")
    async def slow(self, name: str) -> str:
        Path(f"{name}.begun").touch()
        while not Path("go").exists():
            await asyncio.sleep(0.01)
        Path(f"{name}.done").touch()
        return name


class Plain:
    pass
'''


@pytest.fixture
async def callboard(tmp_path: Path) -> AsyncIterator[CommandLine]:
    """The command, without a server."""
    async with command_line(tmp_path / "project", SERVICE) as command:
        yield command


@pytest.fixture
def served(callboard: CommandLine, nats_server: EmbeddedServer) -> CommandLine:
    """The command, with the address of the test's server in `NATS_URL`."""
    callboard.environment["NATS_URL"] = nats_server.url
    return callboard
