"""Actors with nothing to do."""

from __future__ import annotations

from benchmarks.measure import Contender, Measure, Size, figure

__all__ = ["MEASURE"]

MEASURE = Measure(
    name="idle",
    title="Idle actors in one process",
    method=(
        "As many actors as the full form has messages (1,000), each with a mailbox of its own: from nothing on the "
        "server until all run; then two seconds of rest, processor time over 20 s in percent of one core, and "
        "resident memory. At the end each gets one message."
    ),
    contenders={"callboard": Contender("callboard.idle", {"seconds": 20})},
    waiting="",
    full=Size(1_000, rounds=3),
    quick=Size(200, rounds=1),
    targets=(
        figure("start_s", "callboard", at_most=15, unit="s"),
        figure("cpu_percent", "callboard", at_most=3, unit="%"),
        figure("rss_mb", "callboard", at_most=150, unit="MB"),
    ),
)
