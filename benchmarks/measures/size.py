"""Cost against the size of the body."""

from __future__ import annotations

from benchmarks.line import deviation
from benchmarks.measure import Contender, Measure, Plot, Round, Size, Target

__all__ = ["MEASURE"]

BYTES = {"128 B": 128, "1 KB": 1024, "16 KB": 16 * 1024, "256 KB": 256 * 1024}
PARTS = {"128 B": 1.0, "1 KB": 1.0, "16 KB": 0.2, "256 KB": 0.02}
"""Fewer of the large ones: 20,000 of 256 KB would be 5 GB."""


def _cost(round_: Round, name: str) -> float:
    """Seconds for a message."""
    return 1 / round_[name]["rate"]


def _deviation(round_: Round) -> float:
    points = [(BYTES[name], _cost(round_, name)) for name in BYTES]
    return 100 * deviation(points, through_origin=False)


MEASURE = Measure(
    name="size",
    title="Cost against the size of the body",
    method=(
        "The serial drain of bodies that are a number and a text of the given size (20,000 of the two small sizes, "
        "a fifth and a fiftieth of that of the large ones). A line is fitted to seconds for a message against "
        "bytes, by least squares of the relative distances; the target is the largest distance from it."
    ),
    contenders={name: Contender("callboard.drain", {"body": size}, part=PARTS[name]) for name, size in BYTES.items()},
    waiting="parcels",
    full=Size(20_000),
    quick=Size(2_000, rounds=1),
    targets=(Target("largest distance from a line", _deviation, at_most=25, unit="%"),),
    plots=(
        Plot(
            "cost_us",
            "microseconds for a message",
            along="bytes",
            along_label="bytes of the body",
            through_origin=False,
        ),
    ),
)
