"""The drain with many messages at the same time."""

from __future__ import annotations

from benchmarks.measure import Contender, Measure, Plot, Size, ratio

__all__ = ["MEASURE"]

CONCURRENCY = {"concurrency": 64}

MEASURE = Measure(
    name="concurrent",
    title="The same with `concurrency=64` and a handler that awaits once",
    method=(
        "As the drain; the handler does `await asyncio.sleep(0)` before it counts. By hand: a task for each message"
        " and a semaphore of 64. FastStream: `max_workers=64`, pushed and pulled."
    ),
    contenders={
        "callboard": Contender("callboard.drain", CONCURRENCY),
        "by hand": Contender("by_hand.drain", CONCURRENCY),
        "faststream pull": Contender("faststream.drain", {"mode": "pull", **CONCURRENCY}),
        "faststream push": Contender("faststream.drain", {"mode": "push", **CONCURRENCY}),
    },
    full=Size(100_000),
    quick=Size(10_000, rounds=3),
    targets=(
        ratio("rate", "callboard", "by hand", at_least=0.6),
        ratio("rate", "callboard", "faststream pull"),
        ratio("rate", "callboard", "faststream push"),
    ),
    plots=(Plot("rate", "messages a second"),),
)
