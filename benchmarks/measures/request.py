"""Request and reply, many at the same time."""

from __future__ import annotations

from benchmarks.measure import Contender, Measure, Plot, Size, ratio

__all__ = ["MEASURE"]

IN_FLIGHT = {"in_flight": 64}

MEASURE = Measure(
    name="request",
    title="Request and reply, 64 in flight",
    method=(
        "Caller and handler share one process and one connection. Each request is stored in a stream and "
        "acknowledged, handled, and answered by a core message to an inbox that a header names. From the first "
        "request to the last answer. By hand: `js.publish`, one subscription for all inboxes, a task for each "
        "message. FastStream: `broker.request(..., stream=...)` and a push subscriber."
    ),
    contenders={
        "callboard": Contender("callboard.request", IN_FLIGHT),
        "by hand": Contender("by_hand.request", IN_FLIGHT),
        "faststream": Contender("faststream.request", IN_FLIGHT),
    },
    waiting="",
    full=Size(20_000),
    quick=Size(1_000, rounds=3),
    targets=(
        ratio("rate", "callboard", "by hand", at_least=0.7),
        ratio("rate", "callboard", "faststream", at_least=3),
    ),
    plots=(Plot("rate", "answers a second"),),
    note=(
        'Where the time goes (`make bench ARGS="--profile request"`): about 85 µs of one core for both sides '
        "together, beside 52 by hand. 40 % of it is the caller (the message, ten headers, publishing with "
        "acknowledgement, the timeout, the answer), 29 % the handler loop with the reply, 10 % reading the three "
        "messages, the rest asyncio and the measure itself. No function has more than 4 %, nothing waits. By hand a "
        "request has one header instead of ten: no identifier, no deadline, no lifetime in the stream, no trace, no "
        "status, and nobody counts. To get to 0.7 the headers would have to be written and read in C, or the deadline "
        "and the route of the reply to share one header. Three times FastStream would be the speed of the loop by "
        "hand."
    ),
)
