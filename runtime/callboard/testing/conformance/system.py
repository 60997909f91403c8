"""The message system under test, as several processes use it."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from callboard.brokers.mailbox import group_mailboxes
from callboard.brokers.publisher import BrokerPublisher, TransportBrokerPublisher
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.subscription import TransportBrokerSubscriber
from callboard.brokers.transport import BrokerTransport
from callboard.brokers.wire import Frame

__all__ = ["Condition", "Connect", "Messaging", "eventually"]

Connect: TypeAlias = Callable[[], BrokerTransport]
"""Makes transports on one message system, each as another process would have it."""

Condition: TypeAlias = Callable[[], bool | Awaitable[bool]]

STEP = 0.01
"""Seconds between two looks at a condition."""
PATIENCE = 20.0
"""Seconds after which a condition counts as one that never holds."""


class Messaging(ABC):
    """One message system, empty at first, and everything that a test makes on it.

    What `connect` gives is enough for publishers and subscribers; whoever has others overrides `publisher` and
    `subscriber`. None of them is set up yet, and each has a connection of its own.
    """

    ack_wait = 1.0
    """Seconds of silence after which what a subscriber held is handed to another one; as short as may be."""

    def __init__(self, connect: Connect) -> None:
        self.transport = connect

    def publisher(self) -> BrokerPublisher:
        """As another process would have it."""
        return TransportBrokerPublisher(self.transport())

    def subscriber(
        self, topics: Iterable[str], group_id: str = "shop", *, remove_topics_on_destroy: bool = False
    ) -> BrokerSubscriber:
        """As another process would have it. Those of one `group_id` compete."""
        mailboxes = group_mailboxes(topics, group_id, ack_wait=self.ack_wait)
        return TransportBrokerSubscriber(self.transport(), mailboxes, remove_topics_on_destroy=remove_topics_on_destroy)

    @abstractmethod
    async def dead_letters(self) -> Sequence[Frame]:
        """All dead letters so far, oldest first."""

    def outage(self) -> AbstractAsyncContextManager[None] | None:
        """Inside the block the message system answers nothing, after it everything goes on. None (the default) when a
        test cannot make that happen; what needs it is skipped then."""
        return None

    async def vanish(self, subscriber: BrokerSubscriber) -> None:
        """What the message system sees when a subscriber's process dies: its connection ends, nothing is settled."""
        await subscriber.transport.destroy()

    async def advance(self, seconds: float) -> None:
        """Let time pass, real (the default) or virtual."""
        await asyncio.sleep(seconds)

    async def until(self, condition: Condition, *, within: float = PATIENCE) -> None:
        """Return once a condition holds; `TimeoutError` when it does not within so many (real) seconds."""
        async with asyncio.timeout(within):
            while not await _holds(condition):
                await self.advance(STEP)


async def eventually(condition: Condition, *, within: float = PATIENCE) -> None:
    """Return once a condition holds; `TimeoutError` when it does not within so many seconds."""
    async with asyncio.timeout(within):
        while not await _holds(condition):  # noqa: ASYNC110 - what it looks at may be in another process
            await asyncio.sleep(STEP)


async def _holds(condition: Condition) -> bool:
    answer = condition()
    return await answer if inspect.isawaitable(answer) else answer
