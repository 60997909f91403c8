"""What a process counts, as plain numbers: an update costs 0.1 microseconds, a counter of an SDK 13.

Who handles, publishes or settles adds to these; telemetry, health and service discovery read them. They belong to an
`Instrumentation`, not to an actor: a restarted actor goes on counting where the last one ended.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping

from attrs import define, field

__all__ = ["DURATION_BUCKETS", "Durations", "MailboxStatistics", "Statistics"]

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper limits in seconds, the limit itself included; what the conventions advise for durations of messaging."""


@define(eq=False)
class Durations:
    """How long something took, each time."""

    counts: list[int] = field(init=False, factory=lambda: [0] * (len(DURATION_BUCKETS) + 1))
    """How often it ended in each bucket; the last one is for what took longer than all limits."""
    seconds: float = field(init=False, default=0.0)
    """All together."""

    def add(self, seconds: float) -> None:
        """Once more. 0.2 microseconds; an SDK's histogram costs 12."""
        self.counts[bisect_left(DURATION_BUCKETS, seconds)] += 1
        self.seconds += seconds

    def plus(self, other: Durations | None) -> Durations:
        """A copy, with those of another one."""
        both = Durations()
        for each in (self, other or Durations()):
            both.counts = [sum(pair) for pair in zip(both.counts, each.counts, strict=True)]
            both.seconds += each.seconds
        return both


@define(eq=False)
class MailboxStatistics:
    """One mailbox, as this process sees it. What ends in `_now` goes up and down, all else only up."""

    durable: str
    actor: str
    topic: str
    """Topic template."""
    stream: str = field(init=False, default="")
    """Where its durable was found last; empty until it was."""
    durations: dict[str, Durations] = field(init=False, factory=dict[str, Durations])
    """Deliveries that were settled, from their hand-over to their settlement, by error type; an empty one for those
    that were handled or refused. What was handed back without a failure does not count."""
    dead_letters: Counter[str] = field(init=False, factory=Counter[str])
    """Messages given up, by error type."""
    redelivered: int = field(init=False, default=0)
    """Deliveries of messages that had been delivered before."""
    duplicates: int = field(init=False, default=0)
    """Messages not handled because they had been."""
    leases_lost: int = field(init=False, default=0)
    """Failures not settled because their lease had run out."""
    credit_now: int = field(init=False, default=0)
    """Messages asked for that have not come yet."""
    lag_now: int = field(init=False, default=0)
    """Messages that nobody was handed yet, anywhere."""
    ack_pending_now: int = field(init=False, default=0)
    """Messages handed to somebody and not settled, anywhere."""
    age_now: float = field(init=False, default=0.0)
    """Seconds since the oldest message that is not settled was stored; 0.0 when there is none."""

    @property
    def consumed(self) -> Counter[str]:
        """How many deliveries were settled, by error type."""
        return Counter({error_type: sum(durations.counts) for error_type, durations in self.durations.copy().items()})

    @property
    def seconds(self) -> float:
        """Time from their hand-over to their settlement, all together."""
        return sum(durations.seconds for durations in self.durations.copy().values())

    def settled(self, seconds: float, error_type: str, *, again: bool) -> None:
        """A delivery was settled `seconds` after its hand-over; `again` says that its message was delivered before."""
        durations = self.durations.get(error_type) or self.durations.setdefault(error_type, Durations())
        durations.add(seconds)
        if again:
            self.redelivered += 1


@define(eq=False)
class Statistics:
    """Everything that one process counts."""

    mailboxes: dict[str, MailboxStatistics] = field(init=False, factory=dict[str, MailboxStatistics])
    """By durable."""
    sent: Counter[tuple[str, str, str]] = field(init=False, factory=Counter[tuple[str, str, str]])
    """Messages sent, by operation (`publish`, `request`, `reply`, …), topic template and error type (empty: stored)."""
    sent_durations: dict[tuple[str, str, str], Durations] = field(
        init=False, factory=dict[tuple[str, str, str], Durations]
    )
    """How long the same operations took."""
    restarts: Counter[str] = field(init=False, factory=Counter[str])
    """Restarts, by actor."""
    states: Callable[[], Mapping[tuple[str, str], int]] = field(init=False, default=dict[tuple[str, str], int])
    """Asked when somebody wants to know: how many of an actor are in a state (1 or 0), by actor and state."""
    outbox_now: dict[str, int] = field(init=False, factory=dict[str, int])
    """Messages that wait to be sent, by queue; each process that sends from a queue counts all of it."""
    loop_lag_now: float = field(init=False, default=0.0)
    """Seconds by which the process's timer was late, at most, in the last 15 s: what blocks the event loop."""

    def mailbox(self, durable: str, actor: str, topic: str) -> MailboxStatistics:
        """The numbers of one mailbox; the same object each time."""
        found = self.mailboxes.get(durable)
        if found is None:
            found = self.mailboxes[durable] = MailboxStatistics(durable, actor, topic)
        return found

    def count_sent(self, operation: str, template: str, seconds: float, error_type: str) -> None:
        """A message was sent, or with an error type was not, after `seconds`."""
        key = (operation, template, error_type)
        self.sent[key] += 1
        durations = self.sent_durations.get(key) or self.sent_durations.setdefault(key, Durations())
        durations.add(seconds)
