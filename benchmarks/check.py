"""`make bench-check`: no slower than it was, by ratios alone, in under 2 minutes. Needs no peers."""

from __future__ import annotations

import asyncio
import sys

from attrs import evolve, frozen

from benchmarks.measure import Measure, Size
from benchmarks.measures import MEASURES
from benchmarks.result import spread_of
from benchmarks.runner import Runner
from benchmarks.stage import open_stage

__all__ = ["ACCEPTED", "Ratio", "slower"]

MARGIN = 0.7
"""Part of an accepted ratio below which a change has made something slower; shared machines vary by less."""
ROUNDS = 5


@frozen
class Ratio:
    """How fast one contender was, compared with another, when that was last accepted."""

    measure: str
    ours: str
    theirs: str
    accepted: float
    """Median of this many messages, by `rate`."""
    messages: int

    @property
    def floor(self) -> float:
        return self.accepted * MARGIN


ACCEPTED = (
    Ratio("drain", "callboard", "by hand", 0.68, 20_000),
    Ratio("concurrent", "callboard", "by hand", 0.85, 20_000),
    Ratio("request", "callboard", "by hand", 0.60, 3_000),
    Ratio("publish", "callboard", "by hand", 1.25, 10_000),
    Ratio("tracing", "callboard 1 %", "callboard", 0.72, 10_000),
)


def slower(ratio: Ratio, found: float | None) -> str:
    """What is slower and by how much; empty when it is within the margin."""
    if found is None:
        return f"{ratio.measure}: no round counts"
    if found >= ratio.floor:
        return ""
    lost = 100 * (1 - found / ratio.accepted)
    return (
        f"{ratio.measure}: {ratio.ours} is {lost:.0f} % slower than accepted: {found:.2f} x {ratio.theirs}, "
        f"accepted {ratio.accepted:.2f}, at least {ratio.floor:.2f}"
    )


def _only(measure: Measure, ratio: Ratio) -> Measure:
    return evolve(measure, contenders={name: measure.contenders[name] for name in (ratio.ours, ratio.theirs)})


async def _check() -> list[str]:
    found: list[str] = []
    async with open_stage() as stage:
        for ratio in ACCEPTED:
            outcome = await Runner(stage, lambda _: None).run(
                _only(MEASURES[ratio.measure], ratio), Size(ratio.messages, ROUNDS)
            )
            whole = [round_ for round_ in outcome.rounds if len(round_) == 2]
            spread = spread_of([round_[ratio.ours]["rate"] / round_[ratio.theirs]["rate"] for round_ in whole])
            complaint = slower(ratio, spread.median if spread else None)
            print(complaint or f"{ratio.measure}: {ratio.ours} / {ratio.theirs} = {spread.median if spread else 0:.2f}")
            found += [complaint] if complaint else []
            found += outcome.void
    return found


def main() -> None:
    """Exit code 1 and a line for each ratio that is too low, and for each run that lost or repeated something."""
    complaints = asyncio.run(_check())
    for complaint in complaints:
        print(f"bench-check: {complaint}", file=sys.stderr)
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
