"""Many actors that have nothing to do."""

from __future__ import annotations

import asyncio
from time import perf_counter

import psutil

from benchmarks.effects import Effects
from benchmarks.work import Figures, Work
from callboard import Actor, Supervisor, System, event

__all__ = ["run"]

SETTLE = 2.0
"""Seconds between the start and the measurement."""


async def run(work: Work) -> Figures:
    """As many actors as messages, each with a mailbox of its own. At the end each gets one message: they were idle, not
    dead. `cpu_percent` is of one core, over the option `seconds`."""
    effects = Effects(work.messages)
    process = psutil.Process()
    actors = [_actor(f"{work.topic}.{number}", effects, number) for number in range(work.messages)]
    begun = perf_counter()
    async with System(Supervisor(actors), nats=work.url, name=work.stream.lower()) as system:
        started = perf_counter() - begun
        await asyncio.sleep(SETTLE)
        process.cpu_percent()
        await asyncio.sleep(work.number("seconds"))
        percent = process.cpu_percent()
        megabytes = process.memory_info().rss / 1e6
        for number in range(work.messages):
            await system.board.publish(f"{work.topic}.{number}")
        await effects.wait(work.patience)
    figures = effects.figures()
    del figures["rate"]
    return figures | {"start_s": started, "cpu_percent": percent, "rss_mb": megabytes}


def _actor(topic: str, effects: Effects, number: int) -> type[Actor]:
    class Idle(Actor):
        name = f"idle{number}"

        @event(topic)
        async def handle(self) -> None:
            effects.note(number)

    return Idle
