"""Requests with a reply inbox in a header, answered by a core publish; one process, one connection."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio

from nats.aio.msg import Msg

from benchmarks.asking import ask_all
from benchmarks.contenders.by_hand.pull import connected, pulling
from benchmarks.effects import Effects
from benchmarks.message import Answer, Departure
from benchmarks.work import Figures, Work
from callboard.codec import JSON

__all__ = ["run"]

REPLY = "Reply-Topic"


async def run(work: Work) -> Figures:
    """The answer to a request is found by the last token of its inbox; all inboxes share one subscription."""
    effects = Effects(work.messages)
    slots = asyncio.Semaphore(work.number("in_flight", 1))
    tasks: set[asyncio.Task[None]] = set()
    waiting: dict[str, asyncio.Future[bytes]] = {}
    async with connected(work) as client:
        inbox = client.new_inbox()
        stream = client.jetstream()

        async def answer(message: Msg) -> None:
            try:
                departure = JSON.loads(message.data, Departure)
                effects.note(departure.number)
                reply = JSON.encode(Answer(departure.number, (departure.dep_delay or 0) > 0))
                await client.publish((message.headers or {})[REPLY], reply)
                await client.publish(message.reply)
            finally:
                slots.release()

        async def spawn(message: Msg) -> None:
            await slots.acquire()
            task = asyncio.create_task(answer(message))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        async def answered(message: Msg) -> None:
            waiting.pop(message.subject.rpartition(".")[2]).set_result(message.data)

        async def ask(departure: Departure) -> int:
            key = str(departure.number)
            future = waiting[key] = asyncio.get_running_loop().create_future()
            await stream.publish(work.topic, JSON.encode(departure), headers={REPLY: f"{inbox}.{key}"})
            reply: Answer = JSON.loads(await future, Answer)
            return reply.number

        await client.subscribe(f"{inbox}.*", cb=answered)
        async with pulling(client, work, spawn):
            asked = await ask_all(work, [JSON.structure(row, Departure) for row in work.contents()], ask)
            await asyncio.gather(*tasks)
    return effects.figures() | asked
