"""nats-py's `publish_async` with a limit of its own for what waits."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from time import perf_counter
from uuid import uuid4

from nats.js.api import PubAck

from benchmarks.contenders.by_hand.pull import connected
from benchmarks.work import Figures, Work
from callboard.codec import JSON

__all__ = ["run"]


async def run(work: Work) -> Figures:
    """Encodes with Callboard's codec, and makes repeating safe as Callboard does (`Nats-Msg-Id`) unless the option
    `bare` is set: nothing but bytes that are there already."""
    bare = bool(work.number("bare"))
    contents = work.contents()
    encoded = [JSON.encode(content) for content in contents]
    futures: list[asyncio.Future[PubAck]] = []
    async with connected(work) as client:
        stream = client.jetstream(publish_async_max_pending=work.number("in_flight"))
        begun = perf_counter()
        for number, content in enumerate(contents):
            if bare:
                futures.append(await stream.publish_async(work.topic, encoded[number]))
            else:
                headers = {"Nats-Msg-Id": str(uuid4()), "Content-Type": "application/json"}
                futures.append(await stream.publish_async(work.topic, JSON.encode(content), headers=headers))
        places = {receipt.seq for receipt in await asyncio.gather(*futures)}
        seconds = perf_counter() - begun
    return {"rate": work.messages / seconds, "seconds": seconds, "acknowledged": len(places)}
