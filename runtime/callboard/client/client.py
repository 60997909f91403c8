"""A topic of one's own to send from and to receive on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from copy import copy
from typing import Any, Self, TypeVar, overload

from callboard.brokers.builder import BrokerPublisherBuilder, BrokerSubscriberBuilder
from callboard.brokers.configured import transport_of
from callboard.brokers.inbox import InboxBrokerSubscriber
from callboard.brokers.publisher import BrokerPublisher
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.client.board import DEFAULT_TIMEOUT, Board
from callboard.config import Config
from callboard.errors import ConfigError, NotEnoughMessagesError, NotProvidedError
from callboard.lifecycle import Resource
from callboard.message import BrokerMessage

__all__ = ["BrokerClient"]

T = TypeVar("T")

CONFIGURED: Any = object()
"""Stands for a part that is built from the configuration."""


class BrokerClient(Resource):
    """Sends messages whose replies come to `topic`, and receives what arrives there.

    Publisher and subscriber are set up and destroyed with the client; with `shared` the publisher outlives it. Not for
    several receivers at once: each client has one stream of messages.
    """

    def __init__(
        self,
        topic: str,
        publisher: BrokerPublisher,
        subscriber: BrokerSubscriber,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        shared: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(publisher, BrokerPublisher):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise NotProvidedError(type(self).__name__, "publisher")
        if not isinstance(subscriber, BrokerSubscriber):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise NotProvidedError(type(self).__name__, "subscriber")
        self.topic = topic
        self.publisher = publisher
        self.subscriber = subscriber
        self.timeout = timeout
        """Seconds that `request` waits unless it is told otherwise."""
        self._shared = shared

    @classmethod
    def from_config(
        cls,
        config: Config,
        topic: str | None = None,
        *,
        publisher: BrokerPublisher | None = CONFIGURED,
        subscriber: BrokerSubscriber | None = CONFIGURED,
        publisher_builder: BrokerPublisherBuilder | None = None,
        subscriber_builder: BrokerSubscriberBuilder | None = None,
        shared: bool = False,
    ) -> Self:
        """A client on `topic`, or without one on an inbox of its own, on the configured transport.

        A named topic is received from the beginning of its stream, by one of all clients of that name. The builders, or
        the parts themselves, take the place of what is configured; a part that is None is a `NotProvidedError`.
        """
        if publisher is CONFIGURED:
            publisher = (publisher_builder or BrokerPublisherBuilder()).within(config).build()
        if publisher is None:
            raise NotProvidedError(cls.__name__, "publisher")
        if subscriber is CONFIGURED:
            subscriber = _subscriber(config, topic, publisher, subscriber_builder)
        if subscriber is None:
            raise NotProvidedError(cls.__name__, "subscriber")
        topic = topic or next(iter(subscriber.topics))
        return cls(topic, publisher, subscriber, timeout=config.client.timeout, shared=shared)

    @classmethod
    def _from_config(cls, config: Config, *args: Any, **kwargs: Any) -> Self:
        """`from_config` under its older name."""
        return cls.from_config(config, *args, **kwargs)

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
    async def request(self, message: BrokerMessage, *, timeout: float | None = None) -> Any: ...
    @overload
    async def request(self, message: BrokerMessage, *, returns: type[T], timeout: float | None = None) -> T: ...
    async def request(self, message: BrokerMessage, *, returns: Any = None, timeout: float | None = None) -> Any:
        """Ask whoever handles the message's topic, and wait for the answer's content.

        It comes to a private inbox, not to this client's topic: nothing else can be mistaken for it, and one that comes
        too late reaches nobody. See `Board.request` for guarantees and errors.
        """
        await self.setup()
        transport = self.publisher.transport
        if transport is None:
            raise NotProvidedError(f"{type(self).__name__}.request", "publisher with a transport")
        seconds = self.timeout if timeout is None else timeout
        return await Board(transport).ask(message, returns=returns, timeout=seconds)


def _subscriber(
    config: Config, topic: str | None, publisher: BrokerPublisher, builder: BrokerSubscriberBuilder | None
) -> BrokerSubscriber:
    transport = publisher.transport or transport_of(config)
    shared = publisher.transport is not None
    if topic is not None:
        presets = {"topics": [topic], "group_id": f"client-{topic}", "transport": transport, "shared": shared}
        return (builder or BrokerSubscriberBuilder()).within(config, **presets).build()
    if builder is not None:
        raise ConfigError("a subscriber builder is for a client with a topic; what comes to an inbox is not stored")
    return InboxBrokerSubscriber(transport, shared=shared)


def _with_reply_topic(message: BrokerMessage, topic: str) -> BrokerMessage:
    _ = message.identifier  # one that is made on demand belongs to the original as well
    asking = copy(message)
    asking.set_reply_topic(topic)
    return asking
