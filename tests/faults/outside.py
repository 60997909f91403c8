"""What a test does from outside while real processes run a service."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from attrs import frozen
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo

from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport

__all__ = ["NOTE", "Outside", "noted", "outside"]

NOTE = """
import time

def note(file, number):
    with open(file, "a") as stream:
        stream.write(f"{number} {time.monotonic()}\\n")
"""
"""For services: one line for each thing that happened."""


def noted(file: Path) -> list[tuple[int, float]]:
    """What a service noted so far, in its order."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(number), float(at)) for number, at in (line.split() for line in lines)]


@frozen(eq=False)
class Outside:
    """Publishes, and looks at the server as an operator does."""

    board: Board
    js: JetStreamContext
    client: Client

    async def consumer(self, stream: str) -> ConsumerInfo:
        """The only durable of a stream."""
        (found,) = await self.js.consumers_info(stream)
        return found

    async def handed_over(self, stream: str) -> int:
        """Messages that processes hold and have not settled."""
        return (await self.consumer(stream)).num_ack_pending or 0

    async def done(self, stream: str, durables: int = 1) -> bool:
        """Whether a stream has so many durables, each of which has settled everything in it."""
        last = (await self.js.stream_info(stream)).state.last_seq
        floors = [found.ack_floor for found in await self.js.consumers_info(stream)]
        return [floor and floor.stream_seq for floor in floors] == [last] * durables


@asynccontextmanager
async def outside(server: EmbeddedServer) -> AsyncGenerator[Outside]:
    """On connections of its own."""
    async with (
        JetStreamTransport(ConnectionOptions((server.url,))) as transport,
        await nats.connect(server.url, max_reconnect_attempts=-1, reconnect_time_wait=1) as client,
    ):
        yield Outside(Board(transport), client.jetstream(), client)
