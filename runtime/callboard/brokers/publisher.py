"""Where messages go out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self, cast

from callboard.brokers import wire
from callboard.brokers.transport import BrokerTransport, Receipt, Topology
from callboard.config import Config, Configured
from callboard.errors import NoStreamError
from callboard.instrumentation import NO_INSTRUMENTATION, Instrumentation
from callboard.lifecycle import Resource
from callboard.message import BrokerMessage

__all__ = ["BrokerPublisher", "TransportBrokerPublisher", "publish_message"]


class BrokerPublisher(Resource, Configured):
    """Sends messages.

    `send` returns once the message is safe: stored by the transport, or queued by a queued publisher. It raises
    `PublishRefusedError` when the message is certainly not stored, and `PublishUnknownError` when nobody can
    tell; sending the same message again is safe in both cases.
    """

    @classmethod
    def from_config(cls, config: Config, **options: Any) -> Self:
        """The configured publisher; of a class that says how it sends, that one.

        `options` are those of `BrokerPublisherBuilder.with_kwargs`, or of the class's constructor.
        """
        if cls is not BrokerPublisher:
            return super().from_config(config, **options)
        # Here and not above: it builds what derives from this class.
        from callboard.brokers.builder import BrokerPublisherBuilder  # noqa: PLC0415

        return cast("Self", BrokerPublisherBuilder().with_config(config).with_kwargs(options).build())

    @property
    def transport(self) -> BrokerTransport | None:
        """What messages go out on in the end, where an implementation has one."""
        return None

    async def send(self, message: BrokerMessage) -> None:
        """Send one message. Messages of one caller arrive in the order of its awaited calls."""
        await self.setup()
        await self._send(message)

    @abstractmethod
    async def _send(self, message: BrokerMessage) -> None:
        """What an implementation does with each message."""


async def publish_message(
    transport: BrokerTransport,
    instrumentation: Instrumentation,
    message: BrokerMessage,
    system: Mapping[str, str] | None = None,
) -> Receipt:
    """Publish a message under a span of its own, with further `system` headers; see `BrokerTransport.publish` for
    guarantees and errors."""
    span = instrumentation.publish(message.topic, message.identifier)
    try:
        frame = wire.encode(message, carrier=span.carrier, system=system)
        receipt = await instrumentation.sending("publish", message.topic, transport.publish(frame))
    except BaseException as error:
        span.fail(type(error).__name__, str(error))
        raise
    else:
        span.sent(frame.headers[wire.MESSAGE_ID], receipt.stream, receipt.sequence)
        return receipt
    finally:
        span.end()


class TransportBrokerPublisher(BrokerPublisher):
    """Sends through a transport, which is set up with the publisher and, unless `shared`, destroyed with it.

    A missing stream is created, where the transport may create streams. What goes to an inbox is not stored.
    """

    def __init__(
        self,
        transport: BrokerTransport,
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
        *,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self._transport = transport
        self._instrumentation = instrumentation
        self._shared = shared

    @property
    def transport(self) -> BrokerTransport:
        return self._transport

    async def _setup(self) -> None:
        await self._transport.setup()

    async def _send(self, message: BrokerMessage) -> None:
        if self._transport.is_inbox(message.topic):
            await self._transport.send(wire.encode(message))
            return
        try:
            await publish_message(self._transport, self._instrumentation, message)
        except NoStreamError:
            await self._transport.prepare(Topology((), [message.topic]))
            await publish_message(self._transport, self._instrumentation, message)

    async def _destroy(self) -> None:
        if not self._shared:
            await self._transport.destroy()
