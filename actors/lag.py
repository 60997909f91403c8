"""What the server says about mailboxes and dead letters."""

# nats-py ships no complete annotations.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import nats
from nats.js import JetStreamContext

__all__ = ["Lag", "open_lag"]


class Lag:
    """Looks at the streams of the flights with an ordinary NATS client."""

    def __init__(self, jetstream: JetStreamContext) -> None:
        self._jetstream = jetstream

    async def flights(self) -> int:
        """Messages that wait in, or run from, the fullest mailbox of `flights.departed`."""
        return max(await self._unsettled("FLIGHTS"))

    async def anywhere(self) -> int:
        """Messages that wait or run in any mailbox."""
        return sum(await self._unsettled("FLIGHTS")) + sum(await self._unsettled("PASSENGERS"))

    async def dead_letters(self) -> int:
        """Messages that were given up, of all mailboxes."""
        return (await self._jetstream.stream_info("CALLBOARD_DEAD")).state.messages

    async def _unsettled(self, stream: str) -> list[int]:
        durables = await self._jetstream.consumers_info(stream)
        return [(durable.num_pending or 0) + (durable.num_ack_pending or 0) for durable in durables]


@asynccontextmanager
async def open_lag(url: str) -> AsyncGenerator[Lag]:
    """Connect. Raises an error of nats-py when no server answers."""
    client = await nats.connect(url, allow_reconnect=False)
    try:
        yield Lag(client.jetstream())
    finally:
        await client.close()
