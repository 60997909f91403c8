"""A process that does nothing but relay an outbox: `python -m tests.faults.relay DATABASE NATS`."""

from __future__ import annotations

import asyncio
import sys

from callboard.brokers.queue.publisher import QueuedBrokerPublisher
from callboard.database import DatabaseBrokerPublisherQueue
from callboard.jetstream import ConnectionOptions, JetStreamBrokerPublisher


async def relay(database: str, nats: str) -> None:
    inner = JetStreamBrokerPublisher(ConnectionOptions((nats,)))
    async with QueuedBrokerPublisher(inner, DatabaseBrokerPublisherQueue(database)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1], sys.argv[2]))
