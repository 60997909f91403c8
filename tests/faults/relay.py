"""A process that does nothing but relay an outbox: `python -m tests.faults.relay DATABASE NATS`."""

from __future__ import annotations

import asyncio
import sys

from callboard import DatabaseBrokerPublisherQueue, QueuedBrokerPublisher
from callboard.jetstream import ConnectionOptions, JetStreamBrokerPublisher

__all__ = ["relaying"]


def relaying(database: str, nats: str) -> QueuedBrokerPublisher:
    """What relays as long as it is set up."""
    return QueuedBrokerPublisher(
        JetStreamBrokerPublisher(ConnectionOptions((nats,))), DatabaseBrokerPublisherQueue(database)
    )


async def relay_for_ever(database: str, nats: str) -> None:
    async with relaying(database, nats):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(relay_for_ever(sys.argv[1], sys.argv[2]))
