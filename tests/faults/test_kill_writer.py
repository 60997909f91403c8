"""Whatever moment a process dies at, its rows and its messages say the same."""

from __future__ import annotations

from functools import partial
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext
from sqlalchemy import select

from callboard.brokers.transport import Topology
from callboard.brokers.wire import IDENTIFIER
from callboard.database import DatabaseBrokerPublisherQueue
from callboard.database.engine import make_engine
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from tests.faults.process import Processes
from tests.faults.relay import relaying
from tests.faults.report import Figures
from tests.faults.shop import ORDERS, create_tables
from tests.jetstream.eventually import eventually

KILLS, MORE = 10, 40


async def stored(js: JetStreamContext) -> int:
    return (await js.stream_info("ORDERS")).state.messages


async def has(js: JetStreamContext, count: int) -> bool:
    return await stored(js) >= count


async def identifier_at(js: JetStreamContext, sequence: int) -> str:
    message: Any = await js.get_msg("ORDERS", sequence, direct=True)
    return str(message.headers[IDENTIFIER])


async def is_empty(queue: DatabaseBrokerPublisherQueue) -> bool:
    return await queue.count() == 0


@pytest.mark.timeout(180)
async def test_each_committed_order_is_published_once_and_no_other(
    database: str, nats_server: EmbeddedServer, figures: Figures
) -> None:
    """Killed ten times between and inside its transactions."""
    engine = make_engine(database)
    await create_tables(engine)
    async with JetStreamTransport(ConnectionOptions((nats_server.url,))) as transport:
        await transport.prepare(Topology((), ["orders"]))
    shops = Processes("tests.faults.shop", database, nats_server.url)
    async with await nats.connect(nats_server.url) as client:  # pyright: ignore[reportUnknownMemberType]
        js = client.jetstream()  # pyright: ignore[reportUnknownMemberType]
        try:
            for _ in range(KILLS):
                before = await stored(js)
                await shops.start()
                await eventually(partial(has, js, before + MORE), within=60)
                await shops.kill_one()
        finally:
            await shops.end()
        async with relaying(database, nats_server.url), DatabaseBrokerPublisherQueue(engine) as queue:
            await eventually(partial(is_empty, queue), within=60)

        async with engine.connect() as connection:
            rows = (await connection.execute(select(ORDERS.c.identifier).order_by(ORDERS.c.number))).scalars()
            committed = [str(identifier) for identifier in rows]
        published = [await identifier_at(js, number + 1) for number in range(await stored(js))]
        figures(
            "writer of an outbox SIGKILLed, 10 times",
            database=database.partition(":")[0],
            committed=len(committed),
            published=len(published),
            kills=KILLS,
        )
        assert published == committed
        assert len(committed) >= KILLS * MORE
    await engine.dispose()
