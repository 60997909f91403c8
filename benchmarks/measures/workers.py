"""Two worker processes and a handler that uses the processor."""

from __future__ import annotations

from benchmarks.measure import Contender, Measure, Plot, Size, ratio

__all__ = ["MEASURE"]

MEASURE = Measure(
    name="workers",
    title="Two worker processes, CPU-bound handler",
    method=(
        "`callboard run --workers 1` and `--workers 2`; a serial handler turns an empty loop 75,000 times (about a "
        "millisecond). The messages are published once all workers are ready; from the first to the last message "
        "handled, by a journal that all processes append to. The server and whoever publishes use the same "
        "processors."
    ),
    contenders={
        "one": Contender("callboard.workers", {"actor": "Busy", "workers": 1}),
        "two": Contender("callboard.workers", {"actor": "Busy", "workers": 2}),
    },
    waiting="",
    full=Size(10_000),
    quick=Size(1_500, rounds=2),
    targets=(ratio("rate", "two", "one", at_least=1.7),),
    plots=(Plot("rate", "messages a second"),),
)
