"""Subscribers that pass on only what somebody lets through."""

from __future__ import annotations

import logging

from callboard.brokers.delivery import BrokerDelivery, WrappedBrokerDelivery
from callboard.brokers.subscriber import BrokerSubscriber, WrappedBrokerSubscriber
from callboard.brokers.validator import BrokerSubscriberValidator
from callboard.errors import ContentDecodeError, SubstrateError

__all__ = ["FilteredBrokerSubscriber"]

logger = logging.getLogger("callboard.subscriber")

PAUSE = 2.0
"""Seconds until a message comes again whose validator could not take down that it was handled."""


class FilteredDelivery(WrappedBrokerDelivery):
    """A delivery that a validator is asked about, and told how it ended."""

    __slots__ = ("_admitted", "_asked", "_validator")

    def __init__(self, inner: BrokerDelivery, validator: BrokerSubscriberValidator) -> None:
        super().__init__(inner)
        self._validator = validator
        self._admitted: bool | None = None
        self._asked = False
        """Whether the validator let it through, and waits to hear how it ended."""

    is_filtered = True

    async def admit(self) -> bool:
        if self._admitted is None:
            self._admitted = await self.inner.admit() and await self._is_valid()
            self.duplicate = self.inner.duplicate
        return self._admitted

    async def _is_valid(self) -> bool:
        """Whether the validator lets it through. It sees no message that cannot be read: the handler will judge."""
        try:
            self._asked = await self._validator.is_valid(self.message)
        except ContentDecodeError:
            return True
        self.inner.duplicate = not self._asked and self._validator.duplicates
        return self._asked

    async def ack(self) -> None:
        if not self._settles():
            return
        try:
            if self._asked:
                await self._validator.handled(self.message)
        except BaseException as error:
            await self.inner.nak(PAUSE)
            if not isinstance(error, SubstrateError):
                raise
            logger.warning("message %s of %s goes back: %s", self.sequence, self.durable, error)
        else:
            await self.inner.ack()

    async def nak(self, delay: float = 0.0) -> None:
        if self._settles():
            try:
                await self._release()
            finally:
                await self.inner.nak(delay)

    async def term(self, reason: str) -> None:
        if self._settles():
            try:
                await self._release()
            finally:
                await self.inner.term(reason)

    def _settles(self) -> bool:
        first, self.settled = not self.settled, True
        return first

    async def _release(self) -> None:
        if self._asked:
            await self._validator.released(self.message)


class FilteredBrokerSubscriber(WrappedBrokerSubscriber):
    """Passes on what `validator` lets through, and acknowledges the rest unhandled.

    The validator is asked right before a message is handled, and told afterwards that it was handled (before the
    acknowledgement: when it cannot take that down now, the message goes back) or that it was not. It never sees a
    message whose headers make no sense; that is passed on to be dead-lettered.

    Both are set up and destroyed with this one.
    """

    def __init__(self, subscriber: BrokerSubscriber, validator: BrokerSubscriberValidator) -> None:
        super().__init__(subscriber)
        self.validator = validator
        self.intake.through(self._filtered)

    def _filtered(self, delivery: BrokerDelivery) -> BrokerDelivery:
        return FilteredDelivery(delivery, self.validator)

    async def _setup(self) -> None:
        await self.validator.setup()
        await super()._setup()

    async def _destroy(self) -> None:
        try:
            await super()._destroy()
        finally:
            await self.validator.destroy()
