"""Where actors under test run: in memory, or on a server."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from time import monotonic
from typing import ClassVar

from attrs import Factory, define

from callboard.brokers.delivery import BrokerDelivery, WrappedBrokerDelivery
from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.memory.broker import InMemoryBroker
from callboard.brokers.memory.transport import InMemoryTransport
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.transport import BrokerTransport, Topology
from callboard.clock import VirtualClock, let_tasks_run
from callboard.embedded import EmbeddedServer
from callboard.errors import CallboardError
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.system.system import System

__all__ = ["Faults", "MemoryStage", "ServerStage", "Stage"]

LOOK = 0.01
"""Real seconds between two looks at a server."""
THREADS = 0.001
"""Real seconds that threads, sockets and files get before the next look."""
REAL_WORK = 1.0
"""Real seconds in which what runs may end before virtual time goes on; after them it is taken to wait for time."""


@define
class Faults:
    """What goes wrong from now on."""

    acks: int = 0
    """Acknowledgements that will be lost."""
    open: set[BrokerDelivery] = Factory(set[BrokerDelivery])
    """What handlers were given and did not settle yet."""

    def through(self, delivery: BrokerDelivery) -> BrokerDelivery:
        """The delivery as a test wants it."""
        given = _FaultyDelivery(delivery, self)
        self.open.add(given)
        return given


class _FaultyDelivery(WrappedBrokerDelivery):
    """A delivery whose acknowledgement may be lost on its way."""

    __slots__ = ("_faults",)

    def __init__(self, inner: BrokerDelivery, faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults

    @property
    def token(self) -> str:
        return self.inner.token

    async def ack(self) -> None:
        if self.settled:
            return
        self._settle()
        if self._faults.acks > 0:
            self._faults.acks -= 1
            self.inner.settled = True
            return
        await self.inner.ack()

    async def nak(self, delay: float = 0.0) -> None:
        self._settle()
        await self.inner.nak(delay)

    async def term(self, reason: str) -> None:
        self._settle()
        await self.inner.term(reason)

    def _settle(self) -> None:
        self.settled = True
        self._faults.open.discard(self)


class Stage(ABC):
    """What an `ActorTest` needs of the place where its actors run."""

    transport: BrokerTransport
    system: System
    """What runs here, once it does."""
    stands_still: ClassVar[bool]
    """Whether time passes only by `advance`."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.opened: list[BrokerSubscriber] = []
        """The mailboxes of all lives of all actors so far."""

    def opens(self, subscriber: BrokerSubscriber) -> BrokerSubscriber:
        """An actor begins to read."""
        subscriber.intake.through(self.faults.through)
        self.opened.append(subscriber)
        return subscriber

    @abstractmethod
    async def hold(self, topic: str) -> None:
        """Have a stream for a topic."""

    @abstractmethod
    async def at_rest(self) -> bool:
        """Let happen what can happen, and say whether nothing more does."""

    @abstractmethod
    async def advance(self, seconds: float) -> None:
        """Let time pass."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Take the message system away."""

    @abstractmethod
    async def reconnect(self) -> None:
        """Bring it back."""

    def _is_quiet(self) -> bool:
        """Whether no actor starts, and no handler runs or could begin."""
        return not self.system.starting and not any(
            subscriber.intake.running or any(lane.ready for lane in subscriber.intake.lanes)
            for subscriber in self.opened
        )

    def at_work(self) -> str:
        """What is not at rest, for people."""
        found = [f"{name} starts" for name in self.system.starting]
        for subscriber in self.opened:
            running, waiting = subscriber.intake.running, sum(len(lane.waiting) for lane in subscriber.intake.lanes)
            if running or waiting:
                found.append(f"{', '.join(subscriber.topics)}: {running} running, {waiting} waiting")
        return "; ".join(found) or "messages that nobody takes"


class MemoryStage(Stage):
    """An in-memory broker and a clock that stands still."""

    stands_still = True

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.broker = InMemoryBroker(clock=self.clock)
        self.memory = _MemoryTransport(self.broker, self)
        self.transport = self.memory

    async def hold(self, topic: str) -> None:
        self.broker.create_stream(topic)

    async def at_rest(self) -> bool:
        await let_tasks_run()
        if self._is_quiet():
            return True
        await asyncio.sleep(THREADS)
        return False

    async def advance(self, seconds: float) -> None:
        seen: dict[Hashable, float] = {}

        async def let_work_end() -> None:
            await let_tasks_run()
            while self._new_work(seen):
                await asyncio.sleep(THREADS)
                await let_tasks_run()

        await self.clock.advance(seconds, let_work_end)

    def _new_work(self, seen: dict[Hashable, float]) -> bool:
        """Whether something is at work that may wait for a file or a database, and not for time to pass."""
        now = monotonic()
        at_work: list[Hashable] = [*self.faults.open, *self.system.starting]
        return any(now < seen.setdefault(work, now) + REAL_WORK for work in at_work)

    async def disconnect(self) -> None:
        self.memory.disconnect()

    async def reconnect(self) -> None:
        self.memory.reconnect()


class _MemoryTransport(InMemoryTransport):
    def __init__(self, broker: InMemoryBroker, stage: Stage) -> None:
        super().__init__(broker)
        self._stage = stage

    def subscriber(self, mailboxes: Sequence[MailboxSpec]) -> BrokerSubscriber:
        return self._stage.opens(super().subscriber(mailboxes))


class ServerStage(Stage):
    """A real server. One that belongs to the test can be taken away."""

    stands_still = False

    def __init__(self, url: str, server: EmbeddedServer | None = None) -> None:
        super().__init__()
        self._server = server
        self.jetstream = _ServerTransport(ConnectionOptions((url,), "callboard-test"), self)
        self.transport = self.jetstream

    async def hold(self, topic: str) -> None:
        await self.transport.prepare(Topology((), (topic,)))

    async def at_rest(self) -> bool:
        mailboxes = self.system.topology.mailboxes
        if self._is_quiet():
            unsettled, delivered = await self.jetstream.looked_at(mailboxes)
            # Twice: while one mailbox is looked at, a message may go from another one to one that was seen before.
            again = await self.jetstream.looked_at(mailboxes)
            if not unsettled and again == (0, delivered) and self._is_quiet():
                return True
        await asyncio.sleep(LOOK)
        return False

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def disconnect(self) -> None:
        # Gracefully: a killed server may forget acknowledgements, and deliver again after the lease.
        await asyncio.to_thread(self._its_server().terminate)

    async def reconnect(self) -> None:
        await self._its_server().restart()

    def _its_server(self) -> EmbeddedServer:
        if self._server is None:
            raise CallboardError("this server is not the test's own: only that can be taken away")
        return self._server


class _ServerTransport(JetStreamTransport):
    def __init__(self, options: ConnectionOptions, stage: Stage) -> None:
        super().__init__(options)
        self._stage = stage

    def subscriber(self, mailboxes: Sequence[MailboxSpec]) -> BrokerSubscriber:
        return self._stage.opens(super().subscriber(mailboxes))

    async def looked_at(self, mailboxes: Sequence[MailboxSpec]) -> tuple[int, int]:
        """Messages that wait for one of these or for their settlement, and deliveries so far."""
        unsettled = delivered = 0
        for spec in mailboxes:
            for stream in await self._api.streams_touching(spec.template.filter):
                found = await self._api.find(f"CONSUMER.INFO.{stream}.{spec.durable}")
                if found is not None:
                    unsettled += int(found["num_pending"]) + int(found["num_ack_pending"])
                    delivered += int(found["delivered"]["consumer_seq"])
        return unsettled, delivered
