"""Connections to the test's server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport


@pytest.fixture
async def transport(nats_server: EmbeddedServer) -> AsyncIterator[JetStreamTransport]:
    """A transport without instrumentation."""
    async with JetStreamTransport(ConnectionOptions((nats_server.url,))) as transport:
        yield transport


@pytest.fixture
def board(transport: JetStreamTransport) -> Board:
    """The door from outside."""
    return Board(transport)


@pytest.fixture
async def client(nats_server: EmbeddedServer) -> AsyncIterator[Client]:
    """A nats-py connection that knows nothing of Callboard."""
    client = await nats.connect(  # pyright: ignore[reportUnknownMemberType]
        nats_server.url, reconnect_time_wait=1, max_reconnect_attempts=-1
    )
    yield client
    await client.close()


@pytest.fixture
def js(client: Client) -> JetStreamContext:
    """What an operator or another program does with JetStream."""
    return client.jetstream()  # pyright: ignore[reportUnknownMemberType]
