"""Streams in memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from callboard.brokers import wire
from callboard.brokers.deadletter import DEAD_STREAM, DEAD_TOPIC
from callboard.brokers.memory.consumer import InMemoryConsumer
from callboard.brokers.topic import matches
from callboard.brokers.transport import Receipt
from callboard.brokers.wire import Frame
from callboard.clock import SYSTEM_CLOCK, Clock
from callboard.errors import NoStreamError

__all__ = ["InMemoryBroker", "InMemoryStream", "StoredMessage"]


@frozen
class StoredMessage:
    """A message in a stream."""

    sequence: int
    frame: Frame


class InMemoryStream:
    """Messages in order, and the consumers that read them.

    A message whose `Nats-Msg-Id` was stored within the duplicate window is not stored again.
    """

    def __init__(self, name: str, prefix: str, clock: Clock, duplicate_window: float) -> None:
        self.name = name
        self.prefix = prefix
        self.messages: list[StoredMessage] = []
        self.consumers: dict[str, InMemoryConsumer] = {}
        self.last = 0
        """Sequence of the message that was stored last."""
        self._clock = clock
        self._window = duplicate_window
        self._stored: dict[str, tuple[int, float]] = {}
        """Sequence and time by message id, oldest first."""

    def holds(self, topic: str) -> bool:
        """Whether messages to `topic` are stored here."""
        return topic == self.prefix or topic.startswith(f"{self.prefix}.")

    def store(self, frame: Frame) -> Receipt:
        """Append a message, unless it is a duplicate, and let the consumers have it."""
        identifier = frame.headers.get(wire.IDENTIFIER, "")
        message_id = frame.headers.get(wire.MESSAGE_ID)
        if message_id is not None and (before := self._duplicate(message_id)) is not None:
            return Receipt(frame.topic, identifier, self.name, before, duplicate=True)
        self.last += 1
        message = StoredMessage(self.last, frame)
        self.messages.append(message)
        if message_id is not None:
            self._stored[message_id] = (message.sequence, self._clock.time())
        for consumer in tuple(self.consumers.values()):
            consumer.offer(message.sequence, frame)
        return Receipt(frame.topic, identifier, self.name, message.sequence, duplicate=False)

    def stored(self) -> Iterator[tuple[int, Frame]]:
        """Sequence and frame of all messages, oldest first."""
        return ((message.sequence, message.frame) for message in self.messages)

    def find(self, sequence: int) -> Frame | None:
        """The message with this sequence, unless it was removed."""
        index = self._index(sequence)
        return None if index is None else self.messages[index].frame

    def remove(self, sequence: int) -> bool:
        """Delete a message; whether there was one. The others keep their sequences."""
        index = self._index(sequence)
        if index is None:
            return False
        del self.messages[index]
        return True

    def _index(self, sequence: int) -> int | None:
        index = bisect_left(self.messages, sequence, key=lambda message: message.sequence)
        found = index < len(self.messages) and self.messages[index].sequence == sequence
        return index if found else None

    def _duplicate(self, message_id: str) -> int | None:
        oldest = self._clock.time() - self._window
        while self._stored and next(iter(self._stored.values()))[1] <= oldest:
            del self._stored[next(iter(self._stored))]
        found = self._stored.get(message_id)
        return None if found is None else found[0]


class InMemoryBroker:
    """Streams, durable consumers, acknowledgements, redelivery: as JetStream has them, in one event loop.

    A stream holds the topics that begin with its first token. Time comes from `clock`: with a `VirtualClock`,
    leases run out, delayed messages come back and the duplicate window (seconds) passes when the test says so.
    Not a thread-safe object.
    """

    def __init__(
        self, *, clock: Clock = SYSTEM_CLOCK, duplicate_window: float = 300.0, max_payload: int = 1024 * 1024
    ) -> None:
        self.clock = clock
        self.max_payload = max_payload
        """Bytes of headers and body that one message may have."""
        self.inboxes: dict[str, Callable[[Frame], None]] = {}
        """Who listens on a private reply topic."""
        self._window = duplicate_window
        self._streams: dict[str, InMemoryStream] = {}
        self.create_stream(DEAD_TOPIC.split(".")[0], name=DEAD_STREAM)

    def create_stream(self, topic: str, *, name: str | None = None) -> InMemoryStream:
        """The stream of a topic, created when there is none."""
        prefix = topic.split(".", maxsplit=1)[0]
        for stream in self._streams.values():
            if stream.prefix == prefix:
                return stream
        stream = InMemoryStream(name or prefix.upper(), prefix, self.clock, self._window)
        self._streams[stream.name] = stream
        return stream

    def stream_of(self, topic: str) -> InMemoryStream:
        """The stream that holds a topic. Raises `NoStreamError`."""
        for stream in self._streams.values():
            if stream.holds(topic):
                return stream
        raise NoStreamError(topic)

    def stream(self, name: str) -> InMemoryStream | None:
        """The stream of that name."""
        return self._streams.get(name)

    def publish(self, frame: Frame) -> Receipt:
        """Store a message. Raises `NoStreamError` or `MessageTooLargeError`; nothing is stored then."""
        wire.check_size(frame, self.max_payload)
        return self.stream_of(frame.topic).store(frame)

    def send(self, frame: Frame) -> None:
        """Give a message to whoever listens on its inbox now; without a listener it is gone."""
        wire.check_size(frame, self.max_payload)
        if (listener := self.inboxes.get(frame.topic)) is not None:
            listener(frame)

    def bury(self, frame: Frame) -> None:
        """Store a dead letter, which may use all of `max_payload`."""
        self._streams[DEAD_STREAM].store(frame)

    def stored(self, topics: str = ">") -> Iterator[StoredMessage]:
        """All stored messages whose topic matches a filter, dead letters (`_callboard.dead.>`) included."""
        for stream in self._streams.values():
            for message in stream.messages:
                if matches(topics, message.frame.topic):
                    yield message

    @property
    def dead_letters(self) -> list[Frame]:
        """The dead letters so far, oldest first."""
        return [message.frame for message in self._streams[DEAD_STREAM].messages]

    def consumer(
        self,
        filters: str | Sequence[str],
        durable: str,
        *,
        ack_wait: float = 30.0,
        max_deliver: int = -1,
        max_ack_pending: int = 100_000,
        from_start: bool = True,
    ) -> InMemoryConsumer:
        """The durable consumer of that name on the stream of `filters`, created when there is none; one that exists
        takes the filters on. Raises `NoStreamError`.

        A new one begins at the stream's first message, or with `from_start=False` behind its last one.
        """
        filters = (filters,) if isinstance(filters, str) else tuple(filters)
        stream = self.stream_of(filters[0])
        if (existing := stream.consumers.get(durable)) is not None:
            if existing.filters != filters:
                existing.select(filters, stream.stored())
            return existing
        consumer = InMemoryConsumer(
            durable,
            filters,
            stream=stream.name,
            clock=self.clock,
            ack_wait=ack_wait,
            max_deliver=max_deliver,
            max_ack_pending=max_ack_pending,
        )
        stream.consumers[durable] = consumer
        if not from_start:
            consumer.skip(stream.last)
        consumer.select(filters, stream.stored())
        return consumer

    def remove_consumer(self, topic: str, durable: str) -> None:
        """Delete a durable of the stream that holds a topic; no such durable, or no such stream, is no error."""
        for stream in self._streams.values():
            if stream.holds(topic) and (consumer := stream.consumers.pop(durable, None)) is not None:
                consumer.end()

    def consumers(self, topic: str) -> list[InMemoryConsumer]:
        """The consumers on the stream that holds a topic. Raises `NoStreamError`."""
        return list(self.stream_of(topic).consumers.values())
