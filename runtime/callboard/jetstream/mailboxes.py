"""The mailboxes of one actor, or of one group, on JetStream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.transport import BrokerTransport
from callboard.jetstream.api import JetStreamApi
from callboard.jetstream.connection import NatsConnection
from callboard.jetstream.mailbox import JetStreamMailbox
from callboard.jetstream.topology import TopologyManager

__all__ = ["JetStreamMailboxes"]


class JetStreamMailboxes(BrokerSubscriber):
    """Mailboxes that share one intake."""

    def __init__(
        self,
        transport: BrokerTransport,
        connection: NatsConnection,
        api: JetStreamApi,
        topology: TopologyManager,
        specs: Sequence[MailboxSpec],
        watched: set[JetStreamMailbox],
    ) -> None:
        super().__init__((topics for spec in specs for topics in spec.filters), transport=transport)
        self._connection = connection
        self._api = api
        self._topology = topology
        self._specs = specs
        self._watched = watched
        self._mailboxes: list[JetStreamMailbox] = []

    async def _setup(self) -> None:
        self.intake.open()
        for spec in self._specs:
            located = await self._topology.locate(spec)
            mailbox = JetStreamMailbox(
                self._connection,
                self._api,
                stream=located.stream,
                durable=spec.durable,
                on_crash=self._crash,
            )
            mailbox.attach(self.intake, spec.concurrency, located.lease)
            self._mailboxes.append(mailbox)
            await mailbox.start()
            self._watched.add(mailbox)

    def _crash(self, error: BaseException) -> None:
        """A mailbox is gone or forbidden: whoever starts these mailboxes again looks at the server anew."""
        for spec in self._specs:
            self._topology.forget(spec)
        self.crash(error)

    async def drain(self) -> None:
        self.intake.close()
        mailboxes = self._mailboxes
        self._watched.difference_update(mailboxes)
        if mailboxes:
            await asyncio.gather(*(mailbox.drain() for mailbox in mailboxes))

    async def _destroy(self) -> None:
        await self.drain()
        self._mailboxes.clear()
