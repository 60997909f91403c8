"""The door from outside."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from callboard.brokers.configured import address_of, transport_of
from callboard.client.board import Board
from callboard.config import Config
from callboard.telemetry import OpenTelemetryInstrumentation

__all__ = ["connect"]


@asynccontextmanager
async def connect(
    servers: str | None = None, *, name: str = "callboard client", config: Config | None = None
) -> AsyncGenerator[Board]:
    """Connect and give the board to publish and request on; leaving the block closes the connection.

    `servers` are comma-separated addresses, or `context:NAME` of the command `nats`; without them those of `config`
    count, which also has the credentials, else `NATS_URL`, else `nats://127.0.0.1:4222`. Raises `NoServerError` when
    none answers, and `AccessDeniedError` when one does not let us in. A connection that is lost later is restored in
    the background.
    """
    async with transport_of((config or Config()).over(name=name, nats=servers or None)) as transport:
        yield Board(transport, OpenTelemetryInstrumentation(server=address_of(transport)))
