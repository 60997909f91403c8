"""Who decides which messages a subscriber passes on."""

from __future__ import annotations

from typing import ClassVar

from callboard.lifecycle import Resource
from callboard.message import BrokerMessage

__all__ = ["BrokerSubscriberValidator"]


class BrokerSubscriberValidator(Resource):
    """Says which messages are for handling.

    `is_valid` is asked once for each delivery, before it is handled; a message that is not valid is acknowledged
    unhandled. Afterwards exactly one of `handled` and `released` is called, unless the process dies.
    """

    duplicates: ClassVar[bool] = False
    """Whether what is not valid is a copy of something that was handled: counted as such."""

    async def is_valid(self, message: BrokerMessage) -> bool:
        """Whether a message is to be handled."""
        await self.setup()
        return await self._is_valid(message)

    async def _is_valid(self, message: BrokerMessage) -> bool:  # noqa: ARG002
        """What an implementation decides; this one lets everything pass."""
        return True

    async def handled(self, message: BrokerMessage) -> None:
        """A valid message was handled and is about to be acknowledged; raising `SubstrateError` keeps it from that."""

    async def released(self, message: BrokerMessage) -> None:
        """A valid message was not handled: it comes again, or was given up."""
