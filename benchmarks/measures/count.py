"""Cost against the number of messages."""

from __future__ import annotations

from benchmarks.line import deviation
from benchmarks.measure import Contender, Measure, Plot, Round, Size, Target

__all__ = ["MEASURE"]

PARTS = {"a hundredth": 0.01, "a tenth": 0.1, "all": 1.0}


def _deviation(round_: Round) -> float:
    return 100 * deviation([(round_[name]["handled"], round_[name]["seconds"]) for name in PARTS])


MEASURE = Measure(
    name="count",
    title="Cost against the number of messages",
    method=(
        "The serial drain of 10,000, 100,000 and 1,000,000 flights. A line through the origin is fitted to seconds "
        "against messages, by least squares of the relative distances; the target is the largest distance from it."
    ),
    contenders={name: Contender("callboard.drain", part=part) for name, part in PARTS.items()},
    full=Size(1_000_000, rounds=3),
    quick=Size(50_000, rounds=1),
    targets=(Target("largest distance from a line", _deviation, at_most=25, unit="%"),),
    plots=(Plot("seconds", "seconds", along="handled", along_label="messages"),),
)
