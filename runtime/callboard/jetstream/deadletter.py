"""Dead letters in a stream of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from callboard.brokers import wire
from callboard.brokers.deadletter import DeadLetter, DeadLetters
from callboard.jetstream.acknowledgement import AcknowledgedPublisher
from callboard.jetstream.connection import NatsConnection

__all__ = ["DEAD_STREAM", "DEAD_SUBJECTS", "JetStreamDeadLetters"]

DEAD_STREAM = "CALLBOARD_DEAD"
DEAD_SUBJECTS = "_callboard.dead"
ORIGIN = "Callboard-Origin-"
DEAD = "Callboard-Dead-"


class JetStreamDeadLetters(DeadLetters):
    """Original body, original headers under `Callboard-Origin-`, and the reason under `Callboard-Dead-`.

    The subject is `_callboard.dead.<durable>`. A letter that would be too large loses its traceback first, then
    the original headers, then the body; stream and sequence always lead back to the original.
    """

    def __init__(self, connection: NatsConnection, publisher: AcknowledgedPublisher) -> None:
        self._connection = connection
        self._publisher = publisher

    async def put(self, letter: DeadLetter, carrier: dict[str, str]) -> None:
        delivery = letter.delivery
        frame = self._fitting(letter, carrier)
        await self._publisher.publish_raw(f"{DEAD_SUBJECTS}.{delivery.durable}", frame.body, frame.headers)

    def _fitting(self, letter: DeadLetter, carrier: Mapping[str, str]) -> wire.Frame:
        delivery = letter.delivery
        reason = {**_reason(letter), **carrier}
        origin = {f"{ORIGIN}{name}": value for name, value in delivery.headers.items()}
        traceback = {f"{DEAD}Traceback": _line(letter.traceback)}
        limit = self._connection.max_payload
        for headers, body in (
            ({**origin, **reason, **traceback}, delivery.body),
            ({**origin, **reason}, delivery.body),
            (reason, delivery.body),
        ):
            frame = wire.Frame(delivery.topic, headers, body)
            if frame.size <= limit:
                return frame
        return wire.Frame(delivery.topic, {**reason, f"{DEAD}Body": "left out"}, b"")


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


def _line(text: Any) -> str:
    """Any text as one line of printable characters: JSON."""
    return msgspec.json.encode(text).decode()
