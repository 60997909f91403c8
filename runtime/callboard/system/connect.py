"""The door from outside."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from callboard.client.board import Board
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.telemetry import OpenTelemetryInstrumentation

__all__ = ["connect", "options_for", "server_of"]


def options_for(servers: str | None, *, name: str = "callboard") -> ConnectionOptions:
    """Connection options: the given addresses, else `NATS_URL`, else the default address."""
    return ConnectionOptions.parse(servers or os.environ.get("NATS_URL"), name=name)


def server_of(options: ConnectionOptions) -> tuple[str, int]:
    """Host and port of the first server, for telemetry."""
    parts = urlsplit(options.secret_free.split(", ")[0])
    return parts.hostname or "", parts.port or 4222


@asynccontextmanager
async def connect(servers: str | None = None, *, name: str = "callboard client") -> AsyncGenerator[Board]:
    """Connect and give the board to publish and request on; leaving the block closes the connection.

    `servers` are comma-separated addresses; without them `NATS_URL` counts, else `nats://127.0.0.1:4222`. Raises
    `NoServerError` when none answers. A connection that is lost later is restored in the background.
    """
    options = options_for(servers, name=name)
    async with JetStreamTransport(options) as transport:
        yield Board(transport, OpenTelemetryInstrumentation(server=server_of(options)))
