"""What traces cost."""

from __future__ import annotations

from benchmarks.measure import Contender, Measure, Plot, Size, figure, ratio

__all__ = ["MEASURE"]

MEASURE = Measure(
    name="tracing",
    title="Tracing: off, 1 % sampled, everything exported over OTLP",
    method=(
        "The serial drain. Telemetry is turned on as `callboard run` does it (`OTEL_*`); spans go over OTLP/HTTP to"
        " a small receiver in a process of its own, and those that were made are compared with those that arrived. "
        "The messages carry no trace, so each is a new root. FastStream: a push subscriber with its "
        "`NatsTelemetryMiddleware` and the batch processor's queue as Callboard sets it (65,536 spans, batches of "
        "4,096, every second). 'collector down' exports everything to a port on which nobody listens. What is still "
        "queued when the last message is handled is sent after the clock has "
        "stopped."
    ),
    contenders={
        "callboard": Contender("callboard.drain"),
        "callboard 1 %": Contender("callboard.drain", {"sampled": 0.01}, traced=True),
        "callboard 100 %": Contender("callboard.drain", {"sampled": 1.0}, traced=True),
        "callboard, collector down": Contender("callboard.drain", {"collector": "down"}),
        "faststream 100 %": Contender("faststream.drain", {"mode": "push"}, traced=True),
    },
    full=Size(50_000),
    quick=Size(5_000, rounds=3),
    targets=(
        ratio("rate", "callboard 1 %", "callboard", at_least=0.85),
        ratio("rate", "callboard 100 %", "faststream 100 %", at_least=2),
        ratio("rate", "callboard, collector down", "callboard", at_least=0.9),
        figure("dropped", "callboard 100 %", at_most=0, unit="spans"),
        figure("dropped", "faststream 100 %"),
    ),
    plots=(Plot("rate", "messages a second"),),
    note=(
        "Where the time goes at 1 %: a message of this empty handler takes 10 µs. That its trace is dropped costs 1.7 "
        "more (drawing its id, making it current for the handler's own spans). A recorded span costs 190, all parts "
        "together: 31 to make, and 90 to 125 to encode in the SDK's exporter, in a thread that shares the "
        "interpreter. At 1 % that is 1.9 for each message: with an encoder that cost nothing the ratio would be 0.85. "
        "At 100 % the encoder is most of the time for both; what is left to change is the SDK's exporter, not this "
        "code. A handler that works for a millisecond pays 0.4 % at 1 %, and 20 % at 100 %."
    ),
)
