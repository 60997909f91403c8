"""A continuous pull: the loop that everything else is compared with."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks.work import Work

__all__ = ["connected", "pulling"]

BATCH = 1000
EXPIRES = 30_000_000_000


@asynccontextmanager
async def connected(work: Work) -> AsyncGenerator[Client]:
    """A connection, which has sent everything when it is closed."""
    client = await nats.connect(work.url)
    try:
        yield client
    finally:
        await client.flush()
        await client.close()


@asynccontextmanager
async def pulling(client: Client, work: Work, handle: Callable[[Msg], Awaitable[None]]) -> AsyncGenerator[None]:
    """Give `handle` the messages of the stream one after another; it has to acknowledge them."""
    durable = f"{work.stream}-by-hand"
    await client.jetstream().add_consumer(
        work.stream, durable_name=durable, ack_policy="explicit", max_ack_pending=100_000, filter_subject=work.topic
    )
    inbox = client.new_inbox()
    pull = json.dumps({"batch": BATCH, "expires": EXPIRES}).encode()
    owed = 0

    async def ask() -> None:
        nonlocal owed
        owed += BATCH
        await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{work.stream}.{durable}", pull, reply=f"{inbox}.1")

    async def arrived(message: Msg) -> None:
        nonlocal owed
        if not message.reply:
            return  # a status
        owed -= 1
        await handle(message)
        if owed < BATCH // 2:
            await ask()

    subscription = await client.subscribe(f"{inbox}.*", cb=arrived)
    await ask()
    yield
    await subscription.unsubscribe()
