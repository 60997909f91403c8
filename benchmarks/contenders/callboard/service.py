"""The actors that `callboard run` runs with several workers; each message leaves a line in a journal that all share."""

from __future__ import annotations

import asyncio
import os

from benchmarks.journal import Journal
from benchmarks.message import Departure
from callboard import Actor, event

__all__ = ["Busy", "Slow"]

TOPIC = os.environ["BENCH_TOPIC"]
TURNS = 75_000
"""Of an empty loop: about a millisecond of one core."""
NAP = 0.01
"""Seconds."""


class Busy(Actor):
    """Uses the processor."""

    def __init__(self) -> None:
        self.journal = Journal(os.environ["BENCH_JOURNAL"])

    @event(TOPIC)
    async def handle(self, departure: Departure) -> None:
        for _ in range(TURNS):
            pass
        self.journal.note(departure.number)


class Slow(Actor):
    """Waits."""

    concurrency = 8

    def __init__(self) -> None:
        self.journal = Journal(os.environ["BENCH_JOURNAL"])

    @event(TOPIC)
    async def handle(self, departure: Departure) -> None:
        await asyncio.sleep(NAP)
        self.journal.note(departure.number)
