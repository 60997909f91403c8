"""A topic of one's own to send from and to receive on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from copy import copy
from typing import Any, TypeVar, cast, overload

from callboard.brokers.publisher import BrokerPublisher
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.client.board import DEFAULT_TIMEOUT, Board
from callboard.errors import NotEnoughMessagesError, NotProvidedError
from callboard.lifecycle import Resource
from callboard.message import BrokerMessage

__all__ = ["BrokerClient"]

T = TypeVar("T")


class BrokerClient(Resource):
    """Sends messages whose replies come to `topic`, and receives what arrives there.

    Publisher and subscriber are set up and destroyed with the client; with `shared` the publisher outlives it. Not for
    several receivers at once: each client has one stream of messages.
    """

    def __init__(
        self, topic: str, publisher: BrokerPublisher, subscriber: BrokerSubscriber, *, shared: bool = False
    ) -> None:
        super().__init__()
        if not isinstance(publisher, BrokerPublisher):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise NotProvidedError(type(self).__name__, "publisher")
        if not isinstance(subscriber, BrokerSubscriber):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise NotProvidedError(type(self).__name__, "subscriber")
        self.topic = topic
        self.publisher = publisher
        self.subscriber = subscriber
        self._shared = shared

    async def _setup(self) -> None:
        await self.subscriber.setup()
        await self.publisher.setup()

    async def _destroy(self) -> None:
        try:
            await self.subscriber.destroy()
        finally:
            if not self._shared:
                await self.publisher.destroy()

    async def send(self, message: BrokerMessage) -> None:
        """Send a message whose reply comes to this client's topic, unless it names another reply topic.

        The message given is not changed. See `BrokerPublisher.send` for guarantees and errors.
        """
        await self.setup()
        if not message.should_reply:
            message = _with_reply_topic(message, self.topic)
        await self.publisher.send(message)

    async def publish(self, message: BrokerMessage) -> None:
        """Send a message as it is: nobody is asked to reply here."""
        await self.setup()
        await self.publisher.send(message)

    async def receive(self, timeout: float | None = None) -> BrokerMessage:
        """The next message on this client's topic, acknowledged when another one is asked for or at `destroy()`.

        Waits for ever, or `timeout` seconds and then raises `NotEnoughMessagesError`. Cancelling loses nothing.
        """
        await self.setup()
        return await self._next(timeout, 1, [], timeout or 0.0)

    async def receive_many(self, count: int, timeout: float = 60.0) -> AsyncGenerator[BrokerMessage]:
        """The next `count` messages, each as soon as it arrives, `timeout` seconds for all of them.

        Raises `NotEnoughMessagesError` when the time is up; those that came in time are in it.
        """
        await self.setup()
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        received: list[BrokerMessage] = []
        while len(received) < count:
            message = await self._next(max(0.0, deadline - clock()), count, received, timeout)
            received.append(message)
            yield message

    async def _next(
        self, left: float | None, count: int, received: list[BrokerMessage], timeout: float
    ) -> BrokerMessage:
        limit = asyncio.timeout(left)
        try:
            async with limit:
                return await self.subscriber.receive()
        except TimeoutError:
            if not limit.expired():
                raise
            raise NotEnoughMessagesError(self.topic, count, received, timeout) from None

    @overload
    async def request(self, message: BrokerMessage, *, timeout: float = DEFAULT_TIMEOUT) -> Any: ...
    @overload
    async def request(self, message: BrokerMessage, *, returns: type[T], timeout: float = DEFAULT_TIMEOUT) -> T: ...
    async def request(self, message: BrokerMessage, *, returns: Any = None, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """Ask whoever handles the message's topic, and wait for the answer's content.

        It comes to a private inbox, not to this client's topic: nothing else can be mistaken for it, and one that comes
        too late reaches nobody. See `Board.request` for guarantees and errors.
        """
        await self.setup()
        transport = self.publisher.transport
        if transport is None:
            raise NotProvidedError(f"{type(self).__name__}.request", "publisher with a transport")
        return await Board(transport).ask(message, returns=returns, timeout=timeout)


def _with_reply_topic(message: BrokerMessage, topic: str) -> BrokerMessage:
    _ = message.identifier  # one that is made on demand belongs to the original as well
    asking = copy(message)
    asking.set_reply_topic(topic)
    return cast("BrokerMessage", asking)
