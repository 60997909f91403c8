"""Handle what waits in a stream: pushed, pulled, or pulled and handled in batches."""

from __future__ import annotations

import asyncio

from benchmarks.contenders.faststream.broker import open_broker, subscription
from benchmarks.contenders.faststream.message import Departure
from benchmarks.effects import Effects
from benchmarks.work import Figures, Work

__all__ = ["run"]


async def run(work: Work) -> Figures:
    """With the option `concurrency` the handler awaits once and FastStream runs so many workers."""
    effects = Effects(work.messages)
    mode = str(work.options["mode"])

    async def one(departure: Departure) -> None:
        effects.note(departure.number)

    async def awaiting(departure: Departure) -> None:
        await asyncio.sleep(0)
        effects.note(departure.number)

    async def batch(departures: list[Departure]) -> None:
        for departure in departures:
            effects.note(departure.number)

    async with open_broker(work) as (broker, traced):
        handler = awaiting if "concurrency" in work.options else {"batch": batch}.get(mode, one)
        broker.subscriber(**subscription(work, mode))(handler)
        async with broker:
            await broker.start()
            await effects.wait(work.patience)
    return effects.figures() | traced
