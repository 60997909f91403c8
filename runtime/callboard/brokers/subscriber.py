"""Where deliveries come from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import LEASE_SHARE, Intake, Lane
from callboard.errors import ClosedError
from callboard.lifecycle import Resource
from callboard.message import BrokerMessage

if TYPE_CHECKING:
    from callboard.brokers.transport import BrokerTransport

__all__ = ["BrokerSubscriber"]

UNHURRIED = 1.0
"""Seconds that a receiver is taken to need for a message: long enough that nothing is fetched ahead of it."""


class BrokerSubscriber(Resource):
    """Messages of a set of topics.

    Two ways to take them: the handler loop takes deliveries from `intake` and settles each one itself; everybody
    else calls `receive()` or iterates, where a message is acknowledged when the next one is asked for or at
    `destroy()`. At most `intake.concurrency` deliveries are handed out unsettled: 1, unless the handler loop says
    otherwise before `setup()`.
    """

    def __init__(self, topics: Iterable[str], *, transport: BrokerTransport) -> None:
        super().__init__()
        self.topics = set(topics)
        self.transport = transport
        """Where the messages come from, and where replies and dead letters go."""
        self.intake = Intake()
        self.on_crash: Callable[[BaseException], None] | None = None
        """Told when the subscriber can deliver no more; it does not heal by itself then."""
        self._unwatch: Callable[[], None] | None = None
        self._held: tuple[Lane, BrokerDelivery] | None = None

    @abstractmethod
    async def drain(self) -> None:
        """Take nothing more from the transport and hand back what no slot has begun. Idempotent."""

    async def receive(self) -> BrokerMessage:
        """The next message, however long it takes. Cancelling loses nothing."""
        await self.setup()
        if self._unwatch is None:
            self._unwatch = self.transport.watch(self._leases)
        await self._settle_held()
        self._held = await self.intake.take()
        return self._held[1].message

    async def _settle_held(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            lane, delivery = held
            await delivery.ack()
            self.intake.release(lane, UNHURRIED, delivery.body_size)

    def _leases(self, now: float) -> Iterable[BrokerDelivery]:
        """What `receive` holds keeps its lease until it is acknowledged, however long its receiver takes."""
        if self._held is None:
            return ()
        lane, delivery = self._held
        return (delivery,) if now - delivery.touched > lane.lease * LEASE_SHARE else ()

    async def destroy(self) -> None:
        await self._settle_held()
        if self._unwatch is not None:
            self._unwatch()
        await super().destroy()

    def __aiter__(self) -> AsyncIterator[BrokerMessage]:
        return self

    async def __anext__(self) -> BrokerMessage:
        try:
            return await self.receive()
        except ClosedError:
            raise StopAsyncIteration from None
