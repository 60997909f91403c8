"""Where messages go out."""

from __future__ import annotations

from abc import abstractmethod

from callboard.lifecycle import Resource
from callboard.message import BrokerMessage

__all__ = ["BrokerPublisher"]


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
