"""A subscriber to a private topic."""

from __future__ import annotations

import asyncio
from math import inf

from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import Lane
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.transport import BrokerTransport, ReplyFrame

__all__ = ["InboxBrokerSubscriber"]


class InboxBrokerSubscriber(BrokerSubscriber):
    """What is sent to a topic that nobody else listens on, from `setup()` on.

    Nothing here is stored: a message that arrives while nobody listens is gone, and one that is handed back does not
    come again. The transport is set up with the subscriber and, unless `shared`, destroyed with it.
    """

    def __init__(self, transport: BrokerTransport, *, shared: bool = False) -> None:
        self._box = transport.reply_box()
        super().__init__([self._box.topic], transport=transport)
        self._shared = shared
        self._reading: asyncio.Task[None] | None = None

    async def _setup(self) -> None:
        await self.transport.setup()
        lane = self.intake.lane(None, lambda: None)
        lane.lease = inf
        lane.pausable = False
        self._reading = asyncio.create_task(self._read_for_ever(lane), name=f"inbox {self._box.topic}")

    async def _read_for_ever(self, lane: Lane) -> None:
        count = 0
        while True:
            frame = await self._box.get()
            count += 1
            lane.offer(InboxDelivery(self._box.topic, frame, count, self.transport.clock.time()))

    async def drain(self) -> None:
        self.intake.close()
        self._box.close()
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait({reading})

    async def _destroy(self) -> None:
        await self.drain()
        if not self._shared:
            await self.transport.destroy()


class InboxDelivery(BrokerDelivery):
    """A message that is handed over once, whatever becomes of it."""

    __slots__ = ()

    def __init__(self, topic: str, frame: ReplyFrame, count: int, now: float) -> None:
        stream = topic.partition(".")[0]
        super().__init__(
            topic,
            frame.headers,
            frame.body,
            stream=stream,
            sequence=count,
            delivered=1,
            durable=topic,
            touched=now,
        )

    async def ack(self) -> None:
        self.settled = True

    async def nak(self, delay: float = 0.0) -> None:  # noqa: ARG002
        self.settled = True

    async def term(self, reason: str) -> None:  # noqa: ARG002
        self.settled = True

    async def in_progress(self) -> None:
        """There is no lease to renew."""
