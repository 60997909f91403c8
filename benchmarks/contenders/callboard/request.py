"""Ask an actor and wait for its answers; caller and actor share a process and a connection."""

from __future__ import annotations

from benchmarks.asking import ask_all
from benchmarks.effects import Effects
from benchmarks.message import Answer, Departure
from benchmarks.work import Figures, Work
from callboard import JSON, Actor, Supervisor, System, command

__all__ = ["run"]


async def run(work: Work) -> Figures:
    """As many requests at the same time as the option `in_flight` says."""
    effects = Effects(work.messages)

    class Desk(Actor):
        concurrency = work.number("in_flight", 1)

        @command(work.topic)
        async def answer(self, departure: Departure) -> Answer:
            effects.note(departure.number)
            return Answer(departure.number, (departure.dep_delay or 0) > 0)

    async with System(Supervisor([Desk]), nats=work.url, name=work.stream.lower()) as system:

        async def ask(departure: Departure) -> int:
            return (await system.board.request(work.topic, departure, returns=Answer, timeout=30)).number

        asked = await ask_all(work, [JSON.structure(row, Departure) for row in work.contents()], ask)
    return effects.figures() | asked
