"""A relay that is killed again and again publishes each row of its outbox once, in order."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import defaultdict
from functools import partial

import nats
import pytest
from nats.js import JetStreamContext

from callboard import BrokerMessageV1, BrokerMessageV1Payload
from callboard.brokers import wire
from callboard.brokers.transport import Topology
from callboard.database import DatabaseBrokerPublisherQueue
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from tests.faults.process import Processes
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually

ROWS, KEYS, KILLS = 5000, 25, 20


async def fill(database: str) -> None:
    """Rows whose content counts up for each key, put as a program does that has no relay of its own."""
    async with DatabaseBrokerPublisherQueue(database) as queue, asyncio.TaskGroup() as group:
        frames = (
            wire.encode(BrokerMessageV1(f"orders.{number % KEYS}", BrokerMessageV1Payload(number)))
            for number in range(ROWS)
        )
        for batch in iter(lambda: list(itertools.islice(frames, 500)), []):
            for frame in batch:
                group.create_task(queue.put(frame, key=frame.topic))


@pytest.mark.timeout(240)
async def test_each_row_is_published_once_and_in_order_however_often_its_relay_dies(
    database: str, nats_server: EmbeddedServer, figures: Figures
) -> None:
    """Two relays compete on PostgreSQL; a file of SQLite has one at a time."""
    competing = 1 if database.startswith("sqlite") else 2
    async with JetStreamTransport(ConnectionOptions((nats_server.url,))) as transport:
        await transport.prepare(Topology((), ["orders"]))
    await fill(database)
    async with await nats.connect(nats_server.url) as client:  # pyright: ignore[reportUnknownMemberType]
        js = client.jetstream()  # pyright: ignore[reportUnknownMemberType]
        relays = Processes("tests.faults.relay", database, nats_server.url, count=competing)
        try:
            for kill in range(KILLS):
                await relays.start()
                await eventually(partial(has, js, (kill + 1) * ROWS // (KILLS + 2)), within=60)
                await relays.kill_one()
                assert await stored(js) < ROWS, "the outbox was empty before the last relay was killed"
            await relays.start()
            async with DatabaseBrokerPublisherQueue(database) as queue:
                await eventually(partial(is_empty, queue), within=60)
        finally:
            await relays.end()

        count = await stored(js)
        figures(
            "relay of an outbox SIGKILLed, 20 times",
            database=database.partition(":")[0],
            rows=ROWS,
            published=count,
            kills=KILLS,
        )
        assert count == ROWS
        assert await numbers(js) == {f"orders.{key}": list(range(key, ROWS, KEYS)) for key in range(KEYS)}


async def stored(js: JetStreamContext) -> int:
    """Messages in the stream."""
    return (await js.stream_info("ORDERS")).state.messages


async def has(js: JetStreamContext, count: int) -> bool:
    return await stored(js) >= count


async def is_empty(queue: DatabaseBrokerPublisherQueue) -> bool:
    return await queue.count() == 0


async def numbers(js: JetStreamContext) -> dict[str, list[int]]:
    """What the stream holds for each topic, in its order."""
    found: dict[str, list[int]] = defaultdict(list)
    for sequence in range(1, ROWS + 1):
        message = await js.get_msg("ORDERS", sequence, direct=True)
        found[str(message.subject)].append(json.loads(message.data or b""))
    return found
