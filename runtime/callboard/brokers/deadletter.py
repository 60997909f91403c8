"""What could not be handled, and why."""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime

import msgspec
from attrs import frozen

from callboard.brokers import wire
from callboard.brokers.delivery import BrokerDelivery
from callboard.errors import PublishRefusedError, SubstrateError
from callboard.instrumentation import trace_headers

__all__ = [
    "DEAD_LETTER_PAUSE",
    "DEAD_STREAM",
    "DEAD_TOPIC",
    "DeadLetter",
    "DeadLetters",
    "bury",
    "dead_letter_frame",
    "log_unburied",
]

logger = logging.getLogger("callboard.deadletter")

TRACEBACK_LINES = 40
DEAD_STREAM = "CALLBOARD_DEAD"
DEAD_TOPIC = "_callboard.dead"
"""A letter's topic is this and the durable that gave the message up."""
DEAD_LETTER_PAUSE = 10.0
"""Seconds until a message is tried again whose dead letter could not be stored."""
ORIGIN = "Callboard-Origin-"
DEAD = "Callboard-Dead-"


@frozen
class DeadLetter:
    """A delivery that was given up, with the reason. The original body and headers are kept as they were."""

    delivery: BrokerDelivery
    error_type: str
    error_message: str
    traceback: str
    attempts: int
    at: datetime

    @classmethod
    def of(cls, delivery: BrokerDelivery, error: BaseException, attempts: int, at: datetime) -> DeadLetter:
        """The dead letter for an error, its traceback bounded to the last lines."""
        lines = "".join(traceback.format_exception(error)).splitlines()
        return cls(
            delivery=delivery,
            error_type=type(error).__name__,
            error_message=str(error)[:1000],
            traceback="\n".join(lines[-TRACEBACK_LINES:]),
            attempts=attempts,
            at=at,
        )


class DeadLetters(ABC):
    """Where dead letters are kept."""

    @abstractmethod
    async def put(self, letter: DeadLetter, carrier: dict[str, str]) -> None:
        """Store a letter; when this returns, it is safe. Storing the same delivery's letter again keeps one.

        `carrier` are the trace headers that a replay goes on from. Raises `SubstrateError` or
        `PublishRefusedError` when it is not stored: the delivery must not be terminated then.
        """


async def bury(
    dead_letters: DeadLetters, delivery: BrokerDelivery, error: BaseException, *, at: datetime, attempts: int = 1
) -> None:
    """Give a delivery up: store its letter, then terminate it. Where the letter cannot be stored the delivery stays
    in its mailbox and comes again."""
    letter = DeadLetter.of(delivery, error, attempts, at)
    try:
        await dead_letters.put(letter, trace_headers(delivery.headers))
    except (SubstrateError, PublishRefusedError) as problem:
        log_unburied(delivery, problem)
        await delivery.nak(DEAD_LETTER_PAUSE)
    else:
        await delivery.term(f"dead letter: {letter.error_type}")


def log_unburied(delivery: BrokerDelivery, problem: BaseException) -> None:
    """Say that a dead letter could not be stored."""
    logger.error(
        "dead letter of message %s of %s cannot be stored (%s); it stays in its mailbox, again in %.0f s",
        delivery.sequence,
        delivery.durable,
        problem,
        DEAD_LETTER_PAUSE,
    )


def dead_letter_frame(letter: DeadLetter, carrier: Mapping[str, str], max_payload: int) -> wire.Frame:
    """A dead letter on the wire: original body, original headers under `Callboard-Origin-`, the reason under
    `Callboard-Dead-`.

    One that would be too large loses its traceback first, then the original headers, then the body; stream and
    sequence always lead back to the original.
    """
    delivery = letter.delivery
    topic = f"{DEAD_TOPIC}.{delivery.durable}"
    reason = {**_reason(letter), **carrier}
    origin = {f"{ORIGIN}{name}": value for name, value in delivery.headers.items()}
    traceback_line = {f"{DEAD}Traceback": _line(letter.traceback)}
    for headers in ({**origin, **reason, **traceback_line}, {**origin, **reason}, reason):
        frame = wire.Frame(topic, headers, delivery.body)
        if frame.size <= max_payload:
            return frame
    return wire.Frame(topic, {**reason, f"{DEAD}Body": "left out"}, b"")


def _reason(letter: DeadLetter) -> dict[str, str]:
    delivery = letter.delivery
    return {
        wire.MESSAGE_ID: f"dead:{delivery.durable}:{delivery.stream}:{delivery.sequence}",
        f"{DEAD}Topic": delivery.topic,
        f"{DEAD}Stream": delivery.stream,
        f"{DEAD}Sequence": str(delivery.sequence),
        f"{DEAD}Durable": delivery.durable,
        f"{DEAD}Attempts": str(letter.attempts),
        f"{DEAD}At": wire.format_time(letter.at),
        f"{DEAD}Error-Type": letter.error_type,
        f"{DEAD}Error-Message": _line(letter.error_message),
    }


def _line(text: str) -> str:
    """Any text as one line of printable characters: JSON."""
    return msgspec.json.encode(text).decode()
