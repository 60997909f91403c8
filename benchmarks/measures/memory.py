"""Memory over many messages."""

from __future__ import annotations

from benchmarks.measure import Contender, Measure, Plot, Size, figure

__all__ = ["MEASURE"]

MEASURE = Measure(
    name="memory",
    title="Memory over many messages through one process",
    method=(
        "The serial drain; resident memory after every fiftieth part. Growth is from a tenth of the messages "
        "(100,000 of 1,000,000) to the end."
    ),
    contenders={"callboard": Contender("callboard.memory")},
    full=Size(1_000_000, rounds=3),
    quick=Size(50_000, rounds=1),
    targets=(figure("growth", "callboard", at_most=5, unit="%"),),
    plots=(Plot("rss_mb", "resident memory, MB", along_label="messages handled", series="at_"),),
)
