"""One request at a time."""

from __future__ import annotations

from benchmarks.measure import Contender, Measure, Plot, Size, ratio

__all__ = ["MEASURE"]

ALONE = {"in_flight": 1}

MEASURE = Measure(
    name="latency",
    title="Request and reply alone: latency",
    method="As with 64 in flight, but each request waits for the answer to the one before. The first ones count too.",
    contenders={
        "callboard": Contender("callboard.request", ALONE),
        "by hand": Contender("by_hand.request", ALONE),
        "faststream": Contender("faststream.request", ALONE),
    },
    waiting="",
    full=Size(5_000),
    quick=Size(500, rounds=3),
    targets=(
        ratio("p50_ms", "callboard", "by hand", at_most=1.4),
        ratio("p99_ms", "callboard", "by hand", at_most=2),
        ratio("p50_ms", "callboard", "faststream", at_most=1),
        ratio("p99_ms", "callboard", "faststream", at_most=1),
    ),
    plots=(Plot("p50_ms", "p50, milliseconds"), Plot("p99_ms", "p99, milliseconds")),
)
