"""What failures say about the surroundings of a mailbox: when it pauses, and when it goes on."""

from __future__ import annotations

import logging

from attrs import evolve

from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import Lane
from callboard.clock import Clock
from callboard.routing.attempt import remaining
from callboard.routing.failure import FailureClass, Outage, Settlement, Verdict

__all__ = ["weighed"]

logger = logging.getLogger("callboard.mailbox")


def weighed(lane: Lane, delivery: BrokerDelivery, verdict: Verdict, clock: Clock, *, first: bool) -> Verdict:
    """What a verdict becomes when its mailbox is looked at as well.

    A mailbox pauses while what its handler needs is away: the message system, what a failure rule calls `pause`, or
    whatever makes half of its last messages fail. A message that fails then is handed back and costs no attempt, unless
    its caller would have given up by the next try. The first success ends the pause.

    `first` says that this was the message's first attempt: only those are counted. Bad messages that wait for their
    retries come together at the end of a load, and would look like an outage.
    """
    if verdict.failure is None or verdict.failure is FailureClass.REFUSAL:
        _note_success(lane, delivery, verdict)
        return verdict
    now = clock.time()
    if verdict.failure is FailureClass.SUBSTRATE:
        lane.pause(now + verdict.delay)
        return verdict
    if verdict.outage is Outage.NO:
        return verdict
    if verdict.outage is Outage.MAYBE and not first and lane.is_open:
        return verdict
    seconds = _pause(lane, delivery, verdict, now)
    if not seconds or seconds > remaining(delivery, clock):
        return verdict
    return evolve(verdict, settlement=Settlement.HAND_BACK, delay=seconds, reply=None, frame=None)


def _note_success(lane: Lane, delivery: BrokerDelivery, verdict: Verdict) -> None:
    refused = verdict.failure is not None
    if verdict.settlement is not Settlement.ACK or (refused and lane.is_open):
        return
    if lane.succeeded(delivery.sequence):
        logger.info("mailbox %s goes on", delivery.durable)


def _pause(lane: Lane, delivery: BrokerDelivery, verdict: Verdict, now: float) -> float:
    """Seconds until the next message is tried; 0 while the mailbox is open."""
    known = lane.is_paused
    seconds = lane.trip(now) if verdict.outage is Outage.YES else lane.failed(delivery.sequence, now)
    if seconds and not known:
        error = verdict.error
        logger.warning(
            "mailbox %s pauses for %.1f s, then tries one message: its handler cannot do its work (%s: %s)",
            delivery.durable,
            seconds,
            type(error).__name__,
            error,
        )
    return seconds
