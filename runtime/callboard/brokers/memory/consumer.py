"""A durable consumer in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from attrs import define

from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.topic import matches
from callboard.brokers.wire import Frame
from callboard.clock import Clock, Timer

__all__ = ["InMemoryConsumer", "InMemoryDelivery"]

Deliver = Callable[["InMemoryDelivery"], None]


@define(eq=False)
class _Pull:
    """Somebody who has room for more."""

    deliver: Deliver
    owed: int


@define(eq=False)
class _Outstanding:
    """A message between its first delivery and its end."""

    frame: Frame
    delivered: int = 0
    waiting: bool = False
    """To be delivered again as soon as there is room."""
    timer: Timer | None = None
    """When it comes back: the lease while it is out, the delay after a nak."""


class InMemoryConsumer:
    """Hands messages to whoever pulls, in order, and again when they are nak'd or their lease runs out.

    As with JetStream: what comes back is delivered before what is new; a delayed message keeps its place in
    `max_ack_pending`; acknowledgements are not fenced, so one of an earlier delivery settles the message; after
    `max_deliver` deliveries (-1: no limit) a message is given up silently and noted in `given_up`.
    """

    def __init__(
        self,
        durable: str,
        filters: Sequence[str],
        *,
        stream: str,
        clock: Clock,
        ack_wait: float,
        max_deliver: int,
        max_ack_pending: int,
    ) -> None:
        self.durable = durable
        self.filters = tuple(filters)
        self.stream = stream
        self.ack_wait = ack_wait
        self.metadata: dict[str, str] = {}
        """What its creator noted."""
        self.given_up: list[int] = []
        self.on_removed: list[Callable[[], None]] = []
        """Told when the durable is deleted."""
        self._clock = clock
        self._max_deliver = max_deliver
        self._max_ack_pending = max_ack_pending
        self._position = 0
        """Sequence of the last message that is not new any more."""
        self._new: deque[tuple[int, Frame]] = deque()
        self._returned: deque[int] = deque()
        self._outstanding: dict[int, _Outstanding] = {}
        self._pulls: deque[_Pull] = deque()

    @property
    def pending(self) -> int:
        """Messages that were never delivered."""
        return len(self._new)

    @property
    def ack_pending(self) -> int:
        """Messages delivered, or delayed, and not settled."""
        return len(self._outstanding)

    def offer(self, sequence: int, frame: Frame) -> None:
        """A message was stored."""
        if any(matches(topics, frame.topic) for topics in self.filters):
            self._new.append((sequence, frame))
            self._pump()

    def select(self, filters: Sequence[str], stored: Iterable[tuple[int, Frame]]) -> None:
        """Take other topics on, for those of the stream's messages that were not delivered yet."""
        self.filters = tuple(filters)
        self._new.clear()
        for sequence, frame in stored:
            if sequence > self._position:
                self.offer(sequence, frame)

    def skip(self, position: int) -> None:
        """Begin behind the message with this sequence."""
        self._position = position

    def end(self) -> None:
        """The durable is deleted: nothing is delivered any more, settling changes nothing."""
        self._pulls.clear()
        self._new.clear()
        for message in self._outstanding.values():
            if message.timer is not None:
                message.timer.cancel()
        self._outstanding.clear()
        for tell in tuple(self.on_removed):
            tell()

    def pull(self, deliver: Deliver, count: int) -> None:
        """Deliver up to `count` more messages, now or when there are some."""
        self._pulls.append(_Pull(deliver, count))
        self._pump()

    def cancel(self, deliver: Deliver) -> None:
        """Deliver nothing more there."""
        self._pulls = deque(pull for pull in self._pulls if pull.deliver != deliver)

    def _pump(self) -> None:
        while self._pulls and (sequence := self._next()) is not None:
            pull = self._pulls[0]
            pull.owed -= 1
            if pull.owed == 0:
                self._pulls.popleft()
            message = self._outstanding[sequence]
            message.delivered += 1
            message.timer = self._clock.call_later(self.ack_wait, partial(self._come_back, sequence))
            pull.deliver(InMemoryDelivery(self, sequence, message.frame, message.delivered, self._clock.time()))

    def _next(self) -> int | None:
        """The next message to deliver, which is outstanding from now on."""
        while self._returned:
            sequence = self._returned.popleft()
            if (message := self._outstanding.get(sequence)) is not None:
                message.waiting = False
                return sequence
        if self._new and len(self._outstanding) < self._max_ack_pending:
            sequence, frame = self._new.popleft()
            self._position = sequence
            self._outstanding[sequence] = _Outstanding(frame)
            return sequence
        return None

    def _come_back(self, sequence: int) -> None:
        message = self._outstanding.get(sequence)
        if message is None or message.waiting:
            return
        if message.delivered == self._max_deliver:
            self.given_up.append(sequence)
            del self._outstanding[sequence]
        else:
            message.waiting = True
            self._returned.append(sequence)
        self._pump()

    def settle(self, sequence: int) -> None:
        """Done, or given up: the message never comes back."""
        message = self._outstanding.pop(sequence, None)
        if message is not None and message.timer is not None:
            message.timer.cancel()
        self._pump()

    def put_back(self, sequence: int, delay: float) -> None:
        """The message comes back after `delay` seconds."""
        message = self._outstanding.get(sequence)
        if message is None:
            return
        if message.timer is not None:
            message.timer.cancel()
        if delay > 0:
            message.timer = self._clock.call_later(delay, partial(self._come_back, sequence))
        else:
            self._come_back(sequence)

    def renew(self, sequence: int) -> float:
        """Begin the lease anew; the time of that."""
        message = self._outstanding.get(sequence)
        if message is not None and message.timer is not None:
            message.timer.cancel()
            message.timer = self._clock.call_later(self.ack_wait, partial(self._come_back, sequence))
        return self._clock.time()


class InMemoryDelivery(BrokerDelivery):
    """A delivery of an in-memory consumer."""

    __slots__ = ("_consumer",)

    def __init__(self, consumer: InMemoryConsumer, sequence: int, frame: Frame, delivered: int, now: float) -> None:
        super().__init__(
            frame.topic,
            frame.headers,
            frame.body,
            stream=consumer.stream,
            sequence=sequence,
            delivered=delivered,
            durable=consumer.durable,
            touched=now,
        )
        self._consumer = consumer

    async def ack(self) -> None:
        if self._first():
            self._consumer.settle(self.sequence)

    async def nak(self, delay: float = 0.0) -> None:
        if self._first():
            self._consumer.put_back(self.sequence, delay)

    async def term(self, reason: str) -> None:  # noqa: ARG002 - the server only logs it
        if self._first():
            self._consumer.settle(self.sequence)

    async def in_progress(self) -> None:
        if not self.settled:
            self.touched = self._consumer.renew(self.sequence)

    def _first(self) -> bool:
        first, self.settled = not self.settled, True
        return first
