"""Preloaded events through one serial actor."""

from __future__ import annotations

from benchmarks.measure import Contender, Measure, Plot, Size, ratio

__all__ = ["MEASURE"]

MEASURE = Measure(
    name="drain",
    title="Drain of preloaded events by one serial actor, typed handler",
    method=(
        "The stream holds the messages before a contender starts. One handler, one message at a time "
        "(`concurrency=1`), decodes nine columns and counts. FastStream appears three times: a push subscriber (one"
        " message at a time); a pull subscriber (`PullSub(batch_size=500)`, which runs the handler once for each "
        "message, up to 500 at the same time); a batch subscriber (`batch=True`, one call of the handler for 500 "
        "messages, which is another contract: one failure fails them all)."
    ),
    contenders={
        "callboard": Contender("callboard.drain"),
        "by hand": Contender("by_hand.drain"),
        "faststream pull": Contender("faststream.drain", {"mode": "pull"}),
        "faststream batch": Contender("faststream.drain", {"mode": "batch"}),
        "faststream push": Contender("faststream.drain", {"mode": "push"}),
    },
    full=Size(100_000),
    quick=Size(10_000, rounds=3),
    targets=(
        ratio("rate", "callboard", "by hand", at_least=0.7),
        ratio("rate", "callboard", "faststream pull", at_least=4),
        ratio("rate", "callboard", "faststream batch"),
        ratio("rate", "callboard", "faststream push", at_least=2),
    ),
    plots=(Plot("rate", "messages a second"),),
)
