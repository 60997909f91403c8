"""Two workers share what a slow handler has to do."""

from __future__ import annotations

from benchmarks.measure import Contender, Measure, Round, Size, Target

__all__ = ["MEASURE"]

WORKERS, CONCURRENCY, NAP = 2, 8, 0.01


def _share(round_: Round) -> float:
    return round_["two workers"]["share"] * WORKERS


def _total(round_: Round) -> float:
    figures = round_["two workers"]
    return figures["seconds"] / (figures["handled"] / (WORKERS * CONCURRENCY) * NAP)


MEASURE = Measure(
    name="slow",
    title="Slow handler (10 ms, concurrency 8), two workers",
    method=(
        "`callboard run --workers 2`; the handler does `await asyncio.sleep(0.01)`. The messages are published once"
        " both workers are ready. Ideal is every slot busy all the time: 1.25 s for 2,000 messages. `asyncio.sleep`"
        " itself wakes up some tenths of a millisecond late, which is part of the total."
    ),
    contenders={"two workers": Contender("callboard.workers", {"actor": "Slow", "workers": 2})},
    waiting="",
    full=Size(2_000),
    quick=Size(1_000, rounds=2),
    targets=(
        Target("share of the busier worker / half", _share, at_most=1.1),
        Target("total time / ideal", _total, at_most=1.1),
    ),
)
