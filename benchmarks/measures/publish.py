"""Publish with acknowledgement."""

from __future__ import annotations

from benchmarks.measure import Contender, Measure, Plot, Size, ratio

__all__ = ["MEASURE"]

IN_FLIGHT = {"in_flight": 256}

MEASURE = Measure(
    name="publish",
    title="Publish with acknowledgement, 256 in flight",
    method=(
        "Whole rows (nineteen columns and a number) as Python values, encoded while the clock runs; from the first "
        "publish to the last acknowledgement. Callboard and FastStream: 256 tasks, each waits for its "
        "acknowledgement. By hand: nats-py's `publish_async`, Callboard's codec, and the `Nats-Msg-Id` that makes "
        "repeating safe; `bare` is the same without headers and with bytes that were encoded before."
    ),
    contenders={
        "callboard": Contender("callboard.publish", IN_FLIGHT),
        "by hand": Contender("by_hand.publish", IN_FLIGHT),
        "by hand, bare": Contender("by_hand.publish", {"bare": 1, **IN_FLIGHT}),
        "faststream": Contender("faststream.publish", IN_FLIGHT),
    },
    waiting="",
    full=Size(50_000),
    quick=Size(2_000, rounds=3),
    targets=(
        ratio("rate", "callboard", "by hand", at_least=0.9),
        ratio("rate", "callboard", "by hand, bare"),
        ratio("rate", "callboard", "faststream"),
    ),
    plots=(Plot("rate", "acknowledgements a second"),),
)
