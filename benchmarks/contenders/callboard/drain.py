"""Handle what waits in a stream: flights one by one or many at the same time, or parcels."""

from __future__ import annotations

import asyncio

from benchmarks.contenders.callboard.tracing import tracing
from benchmarks.effects import Effects
from benchmarks.message import Departure, Parcel
from benchmarks.work import Figures, Work
from callboard import Actor, Supervisor, System, event

__all__ = ["run"]


async def run(work: Work) -> Figures:
    """With the option `concurrency` the handler awaits once, without it it is serial and awaits nothing."""
    effects = Effects(work.messages)
    actor = _parcels if "body" in work.options else _concurrent if "concurrency" in work.options else _serial
    async with (
        tracing(work) as traced,
        System(Supervisor([actor(work, effects)]), nats=work.url, name=work.stream.lower()),
    ):
        await effects.wait(work.patience)
    return effects.figures() | traced | {"bytes": work.number("body")}


def _serial(work: Work, effects: Effects) -> type[Actor]:
    class Serial(Actor):
        @event(work.topic)
        async def handle(self, departure: Departure) -> None:
            effects.note(departure.number)

    return Serial


def _concurrent(work: Work, effects: Effects) -> type[Actor]:
    class Concurrent(Actor):
        concurrency = work.number("concurrency")

        @event(work.topic)
        async def handle(self, departure: Departure) -> None:
            await asyncio.sleep(0)
            effects.note(departure.number)

    return Concurrent


def _parcels(work: Work, effects: Effects) -> type[Actor]:
    class Parcels(Actor):
        @event(work.topic)
        async def handle(self, parcel: Parcel) -> None:
            effects.note(parcel.number)

    return Parcels
