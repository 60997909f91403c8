"""The serial drain, with a look at the process's memory again and again."""

from __future__ import annotations

import psutil

from benchmarks.effects import Effects
from benchmarks.message import Departure
from benchmarks.work import Figures, Work
from callboard import Actor, Supervisor, System, event

__all__ = ["run"]

LOOKS = 50


async def run(work: Work) -> Figures:
    """`at_<messages>` is the resident memory after so many, in MB; `growth` is in percent, from a tenth to the end."""
    effects = Effects(work.messages)
    process = psutil.Process()
    step = max(1, work.messages // LOOKS)
    sizes: dict[int, float] = {}

    class Watched(Actor):
        @event(work.topic)
        async def handle(self, departure: Departure) -> None:
            effects.note(departure.number)
            if not effects.handled % step:
                sizes[effects.handled] = process.memory_info().rss / 1e6

    async with System(Supervisor([Watched]), nats=work.url, name=work.stream.lower()):
        await effects.wait(work.patience)
    early, late = sizes.get(step * (LOOKS // 10), 0.0), sizes.get(step * LOOKS, 0.0)
    return effects.figures() | {
        "rss_mb": late,
        "growth": 100 * (late / early - 1) if early else 0.0,
        **{f"at_{handled}": size for handled, size in sizes.items()},
    }
