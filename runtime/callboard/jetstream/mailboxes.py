"""The mailboxes of one actor, or of one group, on JetStream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.status import MailboxStatus
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.transport import BrokerTransport
from callboard.jetstream.connection import NatsConnection
from callboard.jetstream.mailbox import JetStreamMailbox
from callboard.jetstream.topology import Located, TopologyManager

__all__ = ["JetStreamMailboxes"]


class JetStreamMailboxes(BrokerSubscriber):
    """Mailboxes that share one intake."""

    def __init__(
        self,
        transport: BrokerTransport,
        connection: NatsConnection,
        topology: TopologyManager,
        specs: Sequence[MailboxSpec],
        watched: set[JetStreamMailbox],
    ) -> None:
        super().__init__((topics for spec in specs for topics in spec.filters), transport=transport)
        self._connection = connection
        self._topology = topology
        self._specs = specs
        self._watched = watched
        self._mailboxes: list[JetStreamMailbox] = []
        self._streams: dict[str, str] = {}
        """Where each durable was found."""

    async def _setup(self) -> None:
        self.intake.open()
        for spec in self._specs:
            mailbox = JetStreamMailbox(
                self._connection,
                spec.durable,
                partial(self._find, spec),
                concurrency=spec.concurrency,
                statistics=self.transport.statistics.mailbox(spec.durable, spec.actor, spec.template.text),
                on_crash=self.crash,
            )
            self._mailboxes.append(mailbox)
            await mailbox.start(self.intake)
            self._watched.add(mailbox)

    async def _find(self, spec: MailboxSpec) -> Located | None:
        """Where it was prepared; asked again, wherever it is by then. None when it was removed meanwhile."""
        before = self._streams.get(spec.durable)
        if before is not None and await self._topology.removed(before, spec.durable):
            return None
        located = await self._topology.locate(spec)
        self._topology.forget(spec)
        self._streams[spec.durable] = located.stream
        return located

    def status(self) -> Sequence[MailboxStatus]:
        return [mailbox.status(spec.template.text) for spec, mailbox in zip(self._specs, self._mailboxes, strict=False)]

    async def drain(self) -> None:
        self.intake.close()
        mailboxes = self._mailboxes
        self._watched.difference_update(mailboxes)
        if mailboxes:
            await asyncio.gather(*(mailbox.drain() for mailbox in mailboxes))

    async def _destroy(self) -> None:
        await self.drain()
        self._mailboxes.clear()
