"""The caller's side of a request measure, the same for everyone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from time import perf_counter
from typing import TypeVar

from benchmarks.effects import percentile
from benchmarks.work import Figures, Work

__all__ = ["ask_all", "send_all"]

T = TypeVar("T")


async def ask_all(work: Work, questions: Sequence[T], ask: Callable[[T], Awaitable[int]]) -> Figures:
    """Ask everything, `in_flight` at the same time. `ask` returns the number that its answer carries; another one than
    the question's is counted in `wrong`. `rate` is in answers a second, from the first question to the last answer."""
    latencies: list[float] = []
    wrong = 0

    async def one(number: int, question: T) -> None:
        nonlocal wrong
        begun = perf_counter()
        wrong += await ask(question) != number
        latencies.append(perf_counter() - begun)

    seconds = await send_all(work.number("in_flight", 1), questions, one)
    return {
        "rate": len(questions) / seconds,
        "seconds": seconds,
        "wrong": wrong,
        "p50_ms": 1000 * percentile(latencies, 0.5),
        "p99_ms": 1000 * percentile(latencies, 0.99),
    }


async def send_all(in_flight: int, items: Sequence[T], send: Callable[[int, T], Awaitable[None]]) -> float:
    """Send everything, numbered, `in_flight` at the same time; returns the seconds that it took."""

    async def take(rest: Iterator[tuple[int, T]]) -> None:
        for number, item in rest:
            await send(number, item)

    rest = enumerate(items)
    begun = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(take(rest))
    return perf_counter() - begun
