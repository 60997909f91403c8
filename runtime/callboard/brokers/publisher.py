"""Where messages go out."""

from __future__ import annotations

from abc import abstractmethod

from callboard.brokers import wire
from callboard.brokers.transport import BrokerTransport, Receipt
from callboard.instrumentation import NO_INSTRUMENTATION, Instrumentation
from callboard.lifecycle import Resource
from callboard.message import BrokerMessage

__all__ = ["BrokerPublisher", "TransportBrokerPublisher", "publish_message"]


class BrokerPublisher(Resource):
    """Sends messages.

    `send` returns once the message is safe: stored by the transport, or queued by a queued publisher. It raises
    `PublishRefusedError` when the message is certainly not stored, and `PublishUnknownError` when nobody can
    tell; sending the same message again is safe in both cases.
    """

    async def send(self, message: BrokerMessage) -> None:
        """Send one message. Messages of one caller arrive in the order of its awaited calls."""
        await self.setup()
        await self._send(message)

    @abstractmethod
    async def _send(self, message: BrokerMessage) -> None:
        """What an implementation does with each message."""


async def publish_message(
    transport: BrokerTransport, instrumentation: Instrumentation, message: BrokerMessage
) -> Receipt:
    """Publish a message under a span of its own; see `BrokerTransport.publish` for guarantees and errors."""
    span = instrumentation.publish(message.topic, message.identifier)
    try:
        return await transport.publish(wire.encode(message, carrier=span.carrier))
    except BaseException as error:
        span.fail(type(error).__name__, str(error))
        raise
    finally:
        span.end()


class TransportBrokerPublisher(BrokerPublisher):
    """Sends through a transport, which it sets up and destroys with itself."""

    def __init__(self, transport: BrokerTransport, instrumentation: Instrumentation = NO_INSTRUMENTATION) -> None:
        super().__init__()
        self._transport = transport
        self._instrumentation = instrumentation

    async def _setup(self) -> None:
        await self._transport.setup()

    async def _send(self, message: BrokerMessage) -> None:
        await publish_message(self._transport, self._instrumentation, message)

    async def _destroy(self) -> None:
        await self._transport.destroy()
