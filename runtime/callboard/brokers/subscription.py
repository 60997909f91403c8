"""A subscriber to several topics, with durables of its own."""

from __future__ import annotations

from collections.abc import Sequence

from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.subscriber import WrappedBrokerSubscriber
from callboard.brokers.transport import BrokerTransport, Topology

__all__ = ["TransportBrokerSubscriber"]


class TransportBrokerSubscriber(WrappedBrokerSubscriber):
    """The mailboxes `mailboxes` on `transport`, created at setup where they are missing, streams included.

    Everybody who subscribes to the same mailboxes competes for their messages. The transport is set up with the
    subscriber and, unless `shared`, destroyed with it. `remove_topics_on_destroy` deletes the durables then, never a
    stream: who subscribes again begins anew.
    """

    def __init__(
        self,
        transport: BrokerTransport,
        mailboxes: Sequence[MailboxSpec],
        *,
        remove_topics_on_destroy: bool = False,
        shared: bool = False,
    ) -> None:
        super().__init__(transport.subscriber(mailboxes))
        self._mailboxes = mailboxes
        self._remove = remove_topics_on_destroy
        self._shared = shared

    async def _setup(self) -> None:
        await self.transport.setup()
        await self.transport.prepare(Topology(self._mailboxes, ()))
        await super()._setup()

    async def _destroy(self) -> None:
        try:
            await super()._destroy()
            if self._remove and self._closed and self.transport.is_ready():
                await self.transport.remove(self._mailboxes)
        finally:
            if not self._shared:
                await self.transport.destroy()
