"""JetStream as a transport."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Self

from attrs import evolve
from nats.errors import Error as NatsError

from callboard.brokers import wire
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.keeper import Keeper
from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.reply import ReplyRules
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.transport import BrokerTransport, Receipt, ReplyBox, Tick, Topology
from callboard.brokers.wire import Frame, check_size
from callboard.config import Config, ReplySettings, StreamSettings
from callboard.errors import NoHandlerError, NoStreamError, PublishRefusedError, PublishUnknownError
from callboard.jetstream.acknowledgement import AcknowledgedPublisher
from callboard.jetstream.adoption import Adoption
from callboard.jetstream.api import JetStreamApi
from callboard.jetstream.attempts import JetStreamAttempts
from callboard.jetstream.connection import ConnectionOptions, NatsConnection
from callboard.jetstream.deadletter import JetStreamDeadLetters
from callboard.jetstream.delivery import JetStreamDelivery, origin_of
from callboard.jetstream.discovery import Discovery
from callboard.jetstream.durable import answers
from callboard.jetstream.mailbox import JetStreamMailbox
from callboard.jetstream.mailboxes import JetStreamMailboxes
from callboard.jetstream.reply import ReplyBoxes
from callboard.jetstream.stored import StoredMessage
from callboard.jetstream.survey import Survey
from callboard.jetstream.topology import TopologyManager
from callboard.statistics import Statistics

__all__ = ["JetStreamTransport"]

logger = logging.getLogger("callboard.transport")

MESSAGE_TTL_DISABLED = 10166
REMEMBERED_TOPICS = 10_000
CHECK_PERIOD = 0.5
"""Seconds between two looks for mailboxes whose server is silent."""
NOTE_PERIOD = 3.0
"""Seconds between two records of how far mailboxes have come."""
REMEMBERED_FOR = 10.0
"""Seconds for which what is known of a topic is believed without asking again."""


class JetStreamTransport(BrokerTransport):
    """One connection with everything that an actor system or a client needs on it.

    Without `options` the servers and credentials are those of the environment (`NATS_URL`, `CALLBOARD_NATS_…`).
    """

    def __init__(self, options: ConnectionOptions | None = None, streams: StreamSettings | None = None) -> None:
        super().__init__()
        options = options or ConnectionOptions.from_config(Config())
        self.inbox_prefix = options.access.inbox_prefix
        self.reply_rules = ReplyRules(ReplySettings(), self.inbox_prefix)
        self._connection = NatsConnection(options)
        self._api = JetStreamApi(self._connection)
        self._publisher = AcknowledgedPublisher(self._connection, self._api)
        self._topology = TopologyManager(self._api, streams)
        self._boxes = ReplyBoxes(self._connection)
        self._keeper = Keeper()
        self._keeper.watch(self._tick)
        self._mailboxes: set[JetStreamMailbox] = set()
        self._check_at = 0.0
        self._handled: dict[str, float] = {}
        """Topics that somebody handles, and until when that is believed."""
        self._keeps_all: dict[str, float] = {}
        """Likewise, whose stream lets no message say how long it is kept."""
        self._survey = Survey(self._connection, self._api, lambda: self.statistics)
        self._discovery = Discovery(self._connection, self._streams)
        self._tasks: list[asyncio.Task[None]] = []
        self.attempts = JetStreamAttempts(self._api, self._publisher, self._topology.incarnations)
        self.dead_letters = JetStreamDeadLetters(self._connection, self._publisher, self._api)
        self._adoption = Adoption(self, self._connection, self._api, self._mailboxes, streams)

    @classmethod
    def from_config(cls, config: Config) -> Self:
        transport = cls(ConnectionOptions.from_config(config), config.streams)
        transport.reply_rules = ReplyRules(config.replies, transport.inbox_prefix)
        return transport

    @property
    def servers(self) -> str:
        return self._connection.options.secret_free

    async def _setup(self) -> None:
        await self._connection.setup()
        await self._publisher.start()
        await self._boxes.start()
        self._keeper.start()
        self._tasks = [
            asyncio.create_task(self._note_for_ever(), name="callboard floors"),
            asyncio.create_task(self._survey.run(), name="callboard survey"),
        ]

    async def _note_for_ever(self) -> None:
        """Record how far mailboxes have come, so that a durable that is lost can go on there."""
        while True:
            await asyncio.sleep(NOTE_PERIOD)
            moved = [mailbox for mailbox in self._mailboxes if mailbox.active]
            for mailbox in moved:
                mailbox.active = False
            try:
                await self._topology.record.note([(mailbox.stream, mailbox.durable) for mailbox in moved])
            except Exception:
                logger.exception("the floors of durables are not recorded")

    async def _destroy(self) -> None:
        await self._adoption.stop()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._keeper.stop()
        await self._connection.destroy()

    def _tick(self, now: float) -> Iterable[BrokerDelivery]:
        self.statistics.loop_lag_now = self._keeper.late
        self._publisher.expire(now)
        if now >= self._check_at:
            self._check_at = now + CHECK_PERIOD
            for mailbox in tuple(self._mailboxes):
                mailbox.check(now)
        return ()

    async def publish(self, frame: Frame) -> Receipt:
        if wire.TTL in frame.headers and self._keeps_all.get(frame.topic, 0.0) > monotonic():
            frame = _without_ttl(frame)
        try:
            ack = await self._publisher.publish(frame)
        except PublishRefusedError as refusal:
            if refusal.code != MESSAGE_TTL_DISABLED or wire.TTL not in frame.headers:
                raise
            # An operator's stream; ours allow it. The message then stays as long as the stream keeps all others.
            _remember(self._keeps_all, frame.topic)
            ack = await self._publisher.publish(_without_ttl(frame))
        return Receipt(frame.topic, frame.headers.get(wire.IDENTIFIER, ""), ack.stream, ack.sequence, ack.duplicate)

    async def send(self, frame: Frame) -> None:
        headers = check_size(frame, self._connection.max_payload)
        client = self._connection.client
        if client.is_full:
            await client.written()
        try:
            client.send(frame.topic, frame.body, headers=headers)
        except NatsError as error:
            raise PublishUnknownError(frame.topic, 0.0, str(error)) from error

    def reply_box(self) -> ReplyBox:
        return self._boxes.open()

    def awaits(self, reply_topic: str) -> bool:
        return self._boxes.holds(reply_topic)

    async def check_handled(self, topic: str) -> None:
        if self._handled.get(topic, 0.0) > monotonic():
            return
        streams = await self._api.streams_touching(topic)
        if not streams:
            raise NoStreamError(topic)
        consumers = await self._api.consumers(streams[0])
        if not any(answers(consumer, topic) for consumer in consumers):
            raise NoHandlerError(topic)
        _remember(self._handled, topic)

    async def prepare(self, topology: Topology) -> None:
        await self._topology.prepare(topology.mailboxes, topology.publishes)
        if topology.mailboxes:
            self._adoption.start()

    async def remove(self, mailboxes: Sequence[MailboxSpec]) -> None:
        for spec in mailboxes:
            await self._topology.remove(spec)

    def subscriber(self, mailboxes: Sequence[MailboxSpec]) -> BrokerSubscriber:
        return JetStreamMailboxes(self, self._connection, self._topology, mailboxes, self._mailboxes)

    async def announce(self, service: str, mailboxes: Sequence[MailboxSpec], statistics: Statistics) -> None:
        await self._discovery.announce(service, mailboxes, statistics)

    def _streams(self) -> Mapping[str, str]:
        return {mailbox.durable: mailbox.stream for mailbox in self._mailboxes}

    async def recover(self, token: str) -> BrokerDelivery | None:
        if (origin := origin_of(token)) is None:
            return None
        stream, sequence = origin
        found = await self._api.find(f"STREAM.MSG.GET.{stream}", {"seq": sequence})
        if found is None:
            return None
        stored = StoredMessage.of(found["message"])
        return JetStreamDelivery(self._connection, stored.topic, token, stored.body, stored.headers, monotonic())

    def watch(self, tick: Tick) -> Callable[[], None]:
        return self._keeper.watch(tick)

    async def wait_closed(self) -> None:
        await self._connection.wait_closed()


def _remember(known: dict[str, float], topic: str) -> None:
    if len(known) >= REMEMBERED_TOPICS:
        known.clear()
    known[topic] = monotonic() + REMEMBERED_FOR


def _without_ttl(frame: Frame) -> Frame:
    return evolve(frame, headers={name: value for name, value in frame.headers.items() if name != wire.TTL})
