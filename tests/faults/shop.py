"""A shop that writes orders and messages together: `python -m tests.faults.shop DATABASE NATS`."""

from __future__ import annotations

import asyncio
import itertools
import sys
from contextlib import suppress

from sqlalchemy import Column, Integer, MetaData, Table, Uuid, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from callboard import BrokerMessageV1, BrokerMessageV1Payload, DatabaseBrokerPublisherQueue, QueuedBrokerPublisher
from callboard.database.engine import make_engine
from callboard.jetstream import ConnectionOptions, JetStreamBrokerPublisher

__all__ = ["ORDERS", "TOPIC", "create_tables"]

TOPIC = "orders.placed"
METADATA = MetaData()
ORDERS = Table("orders", METADATA, Column("number", Integer, primary_key=True), Column("identifier", Uuid))


class ChangedTheirMind(Exception):
    """The transaction of every third order is rolled back."""


async def create_tables(engine: AsyncEngine) -> None:
    """The shop's own table, if it is not there."""
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)


async def sell(database: str, nats: str) -> None:
    """Take one order after the other; each is a row and a message, or neither."""
    engine = make_engine(database)
    async with engine.connect() as connection:
        last = (await connection.execute(select(func.max(ORDERS.c.number)))).scalar() or 0
    inner = JetStreamBrokerPublisher(ConnectionOptions((nats,)))
    async with QueuedBrokerPublisher(inner, DatabaseBrokerPublisherQueue(engine)) as publisher:
        for number in itertools.count(last + 1):
            with suppress(ChangedTheirMind):
                await take_order(engine, publisher, number)


async def take_order(engine: AsyncEngine, publisher: QueuedBrokerPublisher, number: int) -> None:
    """One transaction: the business row and the message."""
    message = BrokerMessageV1(TOPIC, BrokerMessageV1Payload(number))
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(insert(ORDERS).values(number=number, identifier=message.identifier))
        await publisher.send(message, transaction=session)
        if number % 3 == 0:
            raise ChangedTheirMind


if __name__ == "__main__":
    asyncio.run(sell(sys.argv[1], sys.argv[2]))
