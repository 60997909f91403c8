"""Dead letters in a stream of their own."""

from __future__ import annotations

from callboard.brokers.deadletter import DeadLetter, DeadLetters, dead_letter_frame
from callboard.jetstream.acknowledgement import AcknowledgedPublisher
from callboard.jetstream.connection import NatsConnection

__all__ = ["JetStreamDeadLetters"]


class JetStreamDeadLetters(DeadLetters):
    """Letters are stored once: a repeated one has the same `Nats-Msg-Id`."""

    def __init__(self, connection: NatsConnection, publisher: AcknowledgedPublisher) -> None:
        self._connection = connection
        self._publisher = publisher

    async def put(self, letter: DeadLetter, carrier: dict[str, str]) -> None:
        frame = dead_letter_frame(letter, carrier, self._connection.max_payload)
        await self._publisher.publish_raw(frame.topic, frame.body, frame.headers)
