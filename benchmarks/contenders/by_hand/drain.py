"""Handle what waits in a stream, in the loop itself or in a task for each message."""

from __future__ import annotations

import asyncio

from nats.aio.msg import Msg

from benchmarks.contenders.by_hand.pull import connected, pulling
from benchmarks.effects import Effects
from benchmarks.message import Departure, Parcel
from benchmarks.work import Figures, Work
from callboard.codec import JSON

__all__ = ["run"]


async def run(work: Work) -> Figures:
    """With the option `concurrency` the handler awaits once, without it it is serial and awaits nothing."""
    effects = Effects(work.messages)
    content = Parcel if "body" in work.options else Departure
    slots = asyncio.Semaphore(work.number("concurrency", 1))
    tasks: set[asyncio.Task[None]] = set()
    async with connected(work) as client:

        async def serial(message: Msg) -> None:
            effects.note(JSON.loads(message.data, content).number)
            await client.publish(message.reply)

        async def handle(message: Msg) -> None:
            try:
                departure = JSON.loads(message.data, content)
                await asyncio.sleep(0)
                effects.note(departure.number)
                await client.publish(message.reply)
            finally:
                slots.release()

        async def spawn(message: Msg) -> None:
            await slots.acquire()
            task = asyncio.create_task(handle(message))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        async with pulling(client, work, spawn if "concurrency" in work.options else serial):
            await effects.wait(work.patience)
            await asyncio.gather(*tasks)
    return effects.figures()
