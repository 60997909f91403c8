"""Dead letters in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

from callboard.brokers.deadletter import DEAD_TOPIC, DeadLetter, DeadLetters, dead_letter_frame
from callboard.brokers.letter import StoredLetter, read_letter
from callboard.brokers.memory.broker import InMemoryBroker
from callboard.brokers.topic import matches
from callboard.errors import NoDeadLetterError

__all__ = ["InMemoryDeadLetters"]


class InMemoryDeadLetters(DeadLetters):
    """Letters in the broker's stream of dead letters, on the wire format that they would have on a server."""

    def __init__(self, broker: InMemoryBroker) -> None:
        self._broker = broker
        self._stream = broker.stream_of(DEAD_TOPIC)

    async def put(self, letter: DeadLetter, carrier: dict[str, str]) -> None:
        self._broker.bury(dead_letter_frame(letter, carrier, self._broker.max_payload))

    async def letters(self) -> AsyncIterator[StoredLetter]:
        for sequence, frame in tuple(self._stream.stored()):
            if (letter := read_letter(sequence, frame.headers, frame.body)) is not None:
                yield letter

    async def get(self, sequence: int) -> StoredLetter:
        frame = self._stream.find(sequence)
        letter = None if frame is None else read_letter(sequence, frame.headers, frame.body)
        if letter is None:
            raise NoDeadLetterError(sequence)
        stream = self._broker.stream(letter.stream)
        if letter.left_out and stream is not None and (origin := stream.find(letter.stream_sequence)) is not None:
            return letter.completed(origin.headers, origin.body)
        return letter

    async def remove(self, sequence: int) -> bool:
        return self._stream.remove(sequence)

    async def has_mailbox(self, letter: StoredLetter) -> bool:
        stream = self._broker.stream(letter.stream)
        consumer = None if stream is None else stream.consumers.get(letter.durable)
        return consumer is not None and any(matches(topics, letter.topic) for topics in consumer.filters)
