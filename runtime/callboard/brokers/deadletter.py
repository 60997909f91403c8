"""What could not be handled, and why."""

from __future__ import annotations

import json
import logging
import re
import traceback
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from attrs import frozen

from callboard.brokers import wire
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.letter import (
    BODY,
    DEAD,
    HEADERS,
    LEFT_OUT,
    ORIGIN,
    OTHER_HEADERS,
    StoredLetter,
    digest_of,
    sendable,
)
from callboard.errors import NoDeadLetterError, PublishRefusedError, SubstrateError
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
HEADER_LIMIT = 65_535
"""Bytes of headers that a stream takes."""
CARRIER_LIMIT = 8192
"""Bytes of one trace header: other clients send what they like."""


@frozen
class DeadLetter:
    """A delivery that was given up, with the reason. The original body and headers are kept as they were."""

    delivery: BrokerDelivery
    error_type: str
    error_message: str
    traceback: str
    attempts: int
    at: datetime
    actor: str = ""
    """Who gave it up, where that is known."""

    @classmethod
    def of(
        cls, delivery: BrokerDelivery, error: BaseException, attempts: int, at: datetime, *, actor: str = ""
    ) -> DeadLetter:
        """The dead letter for an error, its traceback bounded to the last lines."""
        lines = "".join(traceback.format_exception(error)).splitlines()
        return cls(
            delivery=delivery,
            error_type=getattr(error, "label", type(error).__name__),
            error_message=str(error)[:1000],
            traceback="\n".join(lines[-TRACEBACK_LINES:]),
            attempts=attempts,
            at=at,
            actor=actor,
        )


class DeadLetters(ABC):
    """Where dead letters are kept. This base keeps none that could be read again."""

    @abstractmethod
    async def put(self, letter: DeadLetter, carrier: dict[str, str]) -> None:
        """Store a letter; when this returns, it is safe. Storing the same delivery's letter again keeps one.

        `carrier` are the trace headers that a replay goes on from. Raises `SubstrateError` or
        `PublishRefusedError` when it is not stored: the delivery must not be terminated then.
        """

    def letters(self) -> AsyncIterator[StoredLetter]:
        """The letters that are kept when this begins, oldest first, a batch in memory at a time. What was too large
        for a letter is left out. Raises `SubstrateError`."""
        return _nothing()

    async def get(self, sequence: int) -> StoredLetter:
        """One letter, with what was too large for it, as long as the original is still in its stream.

        Raises `NoDeadLetterError` or `SubstrateError`.
        """
        raise NoDeadLetterError(sequence)

    async def remove(self, sequence: int) -> bool:  # noqa: ARG002
        """Discard a letter for good; whether there was one. Raises `SubstrateError`."""
        return False

    async def has_mailbox(self, letter: StoredLetter) -> bool:  # noqa: ARG002
        """Whether the mailbox that gave a letter up still exists and takes messages to its topic.

        Raises `SubstrateError`.
        """
        return False


async def _nothing() -> AsyncIterator[StoredLetter]:
    nothing: tuple[StoredLetter, ...] = ()
    for letter in nothing:
        yield letter


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

    One that would be too large loses its traceback first, then the largest of the original headers, then the body;
    what is left out is named, and stream and sequence lead back to the original.
    """
    delivery = letter.delivery
    topic = f"{DEAD_TOPIC}.{_NO_TOKEN.sub('_', delivery.durable)}"
    reason = _reason(letter) | _bounded(carrier)
    origin = _origin(delivery.headers)
    traceback_line = {f"{DEAD}Traceback": _line(letter.traceback)}
    for headers in (reason | origin | traceback_line, reason | origin):
        if _fits(frame := wire.Frame(topic, headers, delivery.body), max_payload):
            return frame
    reason[f"{DEAD}Digest"] = digest_of(delivery.headers, delivery.body)
    without_headers = reason | {f"{DEAD}{HEADERS.title()}": LEFT_OUT}
    if _fits(frame := wire.Frame(topic, without_headers, delivery.body), max_payload):
        return _filled(frame, origin, max_payload)
    without_body = reason | {f"{DEAD}{BODY.title()}": LEFT_OUT}
    if _fits(frame := wire.Frame(topic, without_body | origin, b""), max_payload):
        return frame
    return _filled(wire.Frame(topic, without_body | without_headers, b""), origin, max_payload)


EMPTY = wire.Frame("", {}, b"").size
_NO_TOKEN = re.compile(r"[^A-Za-z0-9_-]")


def _fits(frame: wire.Frame, max_payload: int) -> bool:
    return frame.size <= max_payload and frame.size - len(frame.body) <= HEADER_LIMIT


def _filled(frame: wire.Frame, origin: Mapping[str, str], max_payload: int) -> wire.Frame:
    """The frame with as many of the original headers as there is room for, the smallest first."""
    headers = dict(frame.headers)
    room = min(max_payload - frame.size, HEADER_LIMIT - frame.size + len(frame.body))
    for name, value in sorted(origin.items(), key=lambda header: len(header[1])):
        room -= wire.Frame("", {name: value}, b"").size - EMPTY
        if room < 0:
            break
        headers[name] = value
    return wire.Frame(frame.topic, headers, frame.body)


def _origin(headers: Mapping[str, str]) -> dict[str, str]:
    """The original headers as headers, and as JSON those that cannot be sent as they are."""
    origin = {f"{ORIGIN}{name}": value for name, value in headers.items() if sendable(name, value)}
    if others := {name: value for name, value in headers.items() if not sendable(name, value)}:
        origin[OTHER_HEADERS] = _line(others)
    return origin


def _bounded(carrier: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in carrier.items() if sendable(name, value) and len(value.encode()) <= CARRIER_LIMIT
    }


def _reason(letter: DeadLetter) -> dict[str, str]:
    delivery = letter.delivery
    reason = {
        wire.MESSAGE_ID: f"dead:{delivery.durable}:{delivery.stream}:{delivery.sequence}:{delivery.identifier}",
        f"{DEAD}Topic": delivery.topic,
        f"{DEAD}Id": str(delivery.identifier),
        f"{DEAD}Stream": delivery.stream,
        f"{DEAD}Sequence": str(delivery.sequence),
        f"{DEAD}Durable": delivery.durable,
        f"{DEAD}Attempts": str(letter.attempts),
        f"{DEAD}At": wire.format_time(letter.at),
        f"{DEAD}Error-Type": letter.error_type,
        f"{DEAD}Error-Message": _line(letter.error_message),
    }
    return reason | {f"{DEAD}Actor": letter.actor} if letter.actor else reason


def _line(value: str | dict[str, str]) -> str:
    """Anything as one line of printable characters: JSON. What is no Unicode becomes question marks."""
    return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()
