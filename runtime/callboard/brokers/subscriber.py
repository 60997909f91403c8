"""Where deliveries come from."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

from callboard.brokers.deadletter import bury
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import LEASE_SHARE, Intake, Lane
from callboard.brokers.status import MailboxStatus
from callboard.config import Config, Configured
from callboard.errors import ClosedError, ContentDecodeError
from callboard.lifecycle import Resource
from callboard.message import BrokerMessage

if TYPE_CHECKING:
    from callboard.brokers.attempts import Attempts
    from callboard.brokers.transport import BrokerTransport

__all__ = ["BrokerSubscriber", "WrappedBrokerSubscriber"]

logger = logging.getLogger("callboard.subscriber")

UNHURRIED = 1.0
"""Seconds that a receiver is taken to need for a message: long enough that nothing is fetched ahead of it."""


class BrokerSubscriber(Resource, Configured):
    """Messages of a set of topics.

    Two ways to take them: the handler loop takes deliveries from `intake` and settles each one itself; everybody
    else calls `receive()` or iterates, where a message is acknowledged when the next one is asked for or at
    `destroy()`, and what cannot be read is dead-lettered. At most `intake.concurrency` deliveries are handed out
    unsettled: 1, unless the handler loop says otherwise before `setup()`.
    """

    def __init__(self, topics: Iterable[str], *, transport: BrokerTransport, intake: Intake | None = None) -> None:
        super().__init__()
        self.topics = set(topics)
        self.transport = transport
        """Where the messages come from, and where replies and dead letters go."""
        self.intake = intake or Intake()
        self.on_crash: Callable[[BaseException], None] | None = None
        """Told when the subscriber can deliver no more; it does not heal by itself then."""
        self._unwatch: Callable[[], None] | None = None
        self._held: tuple[Lane, BrokerDelivery] | None = None
        self._given = False
        """Whether somebody got what is held."""
        self._failure: BaseException | None = None

    @classmethod
    def from_config(cls, config: Config, **options: Any) -> Self:
        """The configured subscriber to `topics`; of a class that says where messages come from, that one.

        `options` are those of `BrokerSubscriberBuilder.with_kwargs`, or of the class's constructor.
        """
        if cls is not BrokerSubscriber:
            return super().from_config(config, **options)
        # Here and not above: it builds what derives from this class.
        from callboard.brokers.builder import BrokerSubscriberBuilder  # noqa: PLC0415

        return cast("Self", BrokerSubscriberBuilder().with_config(config).with_kwargs(options).build())

    @classmethod
    def _configured(cls, config: Config) -> Mapping[str, Any]:
        return {"group_id": config.group}

    @property
    def attempts(self) -> Attempts:
        """Where failed attempts of this subscriber's deliveries are counted."""
        return self.transport.attempts

    def status(self) -> Sequence[MailboxStatus]:
        """Its mailboxes, as they are now; empty where it has none open.

        Called from the event loop, often: it waits for nothing and asks nobody. A transport's subscriber names each
        mailbox that it was asked for, or the system that it serves never counts as ready.
        """
        return ()

    @abstractmethod
    async def drain(self) -> None:
        """Take nothing more from the transport and hand back what no slot has begun. Idempotent."""

    def crash(self, error: BaseException) -> None:
        """The subscriber can deliver no more: tell whoever listens, or raise it from `receive`."""
        if self.on_crash is not None:
            self.on_crash(error)
        else:
            self._failure = error
            self.intake.close()

    async def receive(self) -> BrokerMessage:
        """The next message, however long it takes. Cancelling loses nothing.

        Raises `ClosedError` after `destroy()`, and what ended the subscription when the server did.
        """
        await self.setup()
        if self._unwatch is None:
            self._unwatch = self.transport.watch(self._leases)
        if self._given:
            await self._settle_held()
        while True:
            if self._held is None:
                self._held = await self._take()
            message = await self._read(self._held[1])
            if message is not None:
                self._given = True
                return message
            self._release()

    async def _take(self) -> tuple[Lane, BrokerDelivery]:
        try:
            return await self.intake.take()
        except ClosedError:
            if self._failure is not None:
                raise self._failure from None
            raise

    async def _read(self, delivery: BrokerDelivery) -> BrokerMessage | None:
        """The message of a delivery; None for one that is settled already, because nobody is to see it."""
        if delivery.is_misdirected or not await delivery.admit():
            await delivery.ack()
            return None
        try:
            message = delivery.message
            _ = message.content
        except ContentDecodeError as error:
            logger.error(  # noqa: TRY400 - the reason is the whole story
                "message %s of %s cannot be read: %s",
                delivery.sequence,
                delivery.durable,
                error,
                extra=delivery.log_fields,
            )
            await bury(self.transport.dead_letters, delivery, error, at=self.transport.clock.now())
            return None
        return message

    async def _settle_held(self) -> None:
        """Acknowledge what somebody got; hand back what nobody did."""
        if self._held is None:
            return
        delivery = self._held[1]
        try:
            await (delivery.ack() if self._given else delivery.nak())
        finally:
            self._release()

    def _release(self) -> None:
        held, self._held, self._given = self._held, None, False
        if held is not None:
            self.intake.release(held[0], UNHURRIED, held[1].body_size)

    def _leases(self, now: float) -> Iterable[BrokerDelivery]:
        """What `receive` holds keeps its lease until it is acknowledged, however long its receiver takes."""
        if self._held is None:
            return ()
        lane, delivery = self._held
        return (delivery,) if now - delivery.touched > lane.lease * LEASE_SHARE else ()

    async def destroy(self) -> None:
        """Acknowledge what `receive` gave last, hand back the rest, and stop delivering: iteration ends."""
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


class WrappedBrokerSubscriber(BrokerSubscriber):
    """A subscriber that adds something to another one, which it sets up and destroys with itself."""

    def __init__(self, subscriber: BrokerSubscriber) -> None:
        super().__init__(subscriber.topics, transport=subscriber.transport, intake=subscriber.intake)
        self.subscriber = subscriber
        """The one inside."""
        subscriber.on_crash = self.crash

    @property
    def attempts(self) -> Attempts:
        return self.subscriber.attempts

    def status(self) -> Sequence[MailboxStatus]:
        return self.subscriber.status()

    async def drain(self) -> None:
        await self.subscriber.drain()

    async def _setup(self) -> None:
        await self.subscriber.setup()

    async def _destroy(self) -> None:
        await self.subscriber.destroy()
