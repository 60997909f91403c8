"""FastStream's RPC over a stream: `broker.request(..., stream=...)`; a push subscriber answers soonest."""

from __future__ import annotations

from benchmarks.asking import ask_all
from benchmarks.contenders.faststream.broker import open_broker, subscription
from benchmarks.contenders.faststream.message import Answer, Departure
from benchmarks.effects import Effects
from benchmarks.work import Figures, Work

__all__ = ["run"]


async def run(work: Work) -> Figures:
    """Caller and handler share a process and a connection."""
    effects = Effects(work.messages)

    async def answer(departure: Departure) -> Answer:
        effects.note(departure.number)
        return Answer(number=departure.number, late=(departure.dep_delay or 0) > 0)

    async with open_broker(work) as (broker, _):
        broker.subscriber(**subscription(work, "push"))(answer)

        async def ask(departure: Departure) -> int:
            reply = await broker.request(departure, work.topic, stream=work.stream, timeout=30)
            return Answer.model_validate(await reply.decode()).number

        async with broker:
            await broker.start()
            asked = await ask_all(work, [Departure.model_validate(row) for row in work.contents()], ask)
    return effects.figures() | asked
