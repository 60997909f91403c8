"""Messages to put, and what came out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from callboard.brokers.queue.queue import BrokerQueue, QueueEntry
from callboard.brokers.wire import Frame

__all__ = ["bodies", "claim", "order", "put"]


def order(number: int, identifier: str | None = None) -> Frame:
    return Frame("orders.placed", {"Nats-Msg-Id": identifier} if identifier else {}, b"%d" % number)


def bodies(entries: Sequence[QueueEntry]) -> list[int]:
    return [int(entry.frame.body) for entry in entries]


async def put(queue: BrokerQueue, *numbers: int, key: str | None = None) -> None:
    for number in numbers:
        await queue.put(order(number), key=key)


async def claim(queue: BrokerQueue, count: int = 10, *, within: float = 10.0) -> list[QueueEntry]:
    """The next entries, as soon as there are some."""
    async with asyncio.timeout(within):
        while not (entries := await queue.claim(count)):
            await queue.wait()
    return entries
