"""Dead letters of messages that the server gave up on.

Our durables have no limit of deliveries, but an operator may set one. Then the server stops delivering a message, says
nothing to its consumer, and emits an advisory, once. A stream keeps the advisories, and each becomes a dead letter.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec
from attrs import frozen

from callboard.backoff import Backoff
from callboard.brokers.deadletter import DeadLetter
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import Intake
from callboard.brokers.queue.relay import Relay
from callboard.brokers.transport import BrokerTransport
from callboard.config import Manage, StreamSettings
from callboard.errors import CallboardError, TopologyError
from callboard.instrumentation import trace_headers
from callboard.jetstream.api import ConsumerInfo, JetStreamApi
from callboard.jetstream.connection import NatsConnection
from callboard.jetstream.deadletter import stored_message
from callboard.jetstream.mailbox import JetStreamMailbox
from callboard.jetstream.stored import StoredMessage
from callboard.jetstream.topology import Located

__all__ = ["ADVISORIES", "ADVISORY_STREAM", "Adoption"]

logger = logging.getLogger("callboard.deadletter")

ADVISORIES = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"
ADVISORY_STREAM = "CALLBOARD_ADVISORIES"
DURABLE = "callboard-adoption"
ACK_WAIT = 30.0
GRACE = 2.0
"""Seconds that a stop leaves for the letter that is being stored."""
NANOSECONDS = 1_000_000_000
CONFIG = {
    "name": DURABLE,
    "durable_name": DURABLE,
    "filter_subject": ADVISORIES,
    "ack_policy": "explicit",
    "ack_wait": int(ACK_WAIT * NANOSECONDS),
    "max_deliver": -1,
}
PATIENT = Backoff(base=1.0, maximum=60.0)


class Adoption:
    """Stores a dead letter for each message of our durables that the server will not deliver any more.

    All processes share one durable: each advisory is taken by one of them, and again by any when that one dies. It is
    acknowledged only after the letter is safe; a letter that is stored twice is one. Advisories about durables of
    others, and about messages that are gone from their stream, lead to nothing.
    """

    def __init__(
        self,
        transport: BrokerTransport,
        connection: NatsConnection,
        api: JetStreamApi,
        watched: set[JetStreamMailbox],
        streams: StreamSettings | None = None,
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._api = api
        self._watched = watched
        """Mailboxes that the transport's timer looks after."""
        self._streams = streams or StreamSettings()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        """Since advisories were taken last."""

    def start(self) -> None:
        """Begin, in the background: nothing that goes wrong here is in anybody's way. Does nothing while it runs."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="callboard adoption")

    async def stop(self) -> None:
        """Take no more advisories. One that is under way gets 2 s. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _keep(self) -> None:
        while True:
            try:
                await self._serve()
            except CallboardError as error:
                level = logging.DEBUG if self._failures else logging.WARNING
                logger.log(level, "messages that the server gives up on are not watched at the moment: %s", error)
            except Exception:
                logger.exception("messages that the server gives up on are not watched at the moment")
            self._failures += 1
            await asyncio.sleep(PATIENT.delay(self._failures))

    async def _serve(self) -> None:
        """Take advisories until the mailbox cannot go on, and raise why."""
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def crash(error: BaseException) -> None:
            if not lost.done():
                lost.set_exception(error)

        intake = Intake()
        mailbox = JetStreamMailbox(self._connection, DURABLE, self._find, on_crash=crash)
        relay = Relay(intake, self._adopt, transport=self._transport, retry=0)
        relay.start()
        try:
            await mailbox.start(intake)
            self._watched.add(mailbox)
            self._failures = 0
            await lost
        finally:
            self._watched.discard(mailbox)
            await relay.stop(GRACE)
            await mailbox.drain()

    async def _find(self) -> Located:
        """Where the advisories are. Raises `TopologyError` when they are nowhere, and we may not change that."""
        stream = await self._stream()
        if await self._api.find(f"CONSUMER.INFO.{stream}.{DURABLE}") is None:
            self._check_manage(f"durable {DURABLE!r} on stream {stream!r}")
            await self._api.call(f"CONSUMER.CREATE.{stream}.{DURABLE}", {"stream_name": stream, "config": CONFIG})
        return Located(stream, ACK_WAIT)

    async def _stream(self) -> str:
        """The stream that keeps the advisories, an operator's if there is one; created where we may."""
        if names := await self._api.streams_touching(ADVISORIES):
            return names[0]
        self._check_manage(f"stream {ADVISORY_STREAM!r}")
        config = {
            "name": ADVISORY_STREAM,
            "subjects": [ADVISORIES],
            "storage": "file",
            "retention": "workqueue",
            "discard": "old",
            "max_age": int(self._streams.max_age * NANOSECONDS),
            "num_replicas": self._streams.replicas,
        }
        await self._api.call(f"STREAM.CREATE.{ADVISORY_STREAM}", config)
        return ADVISORY_STREAM

    def _check_manage(self, missing: str) -> None:
        if self._streams.manage is not Manage.MANAGE:
            raise TopologyError(
                missing,
                f"is missing, and 'streams.manage' is {self._streams.manage.value!r}; create it if you limit "
                "deliveries ('max_deliver'), or let Callboard manage the server",
            )

    async def _adopt(self, delivery: BrokerDelivery) -> None:
        """One advisory. What it raises makes the relay try again later."""
        try:
            advisory = msgspec.json.decode(delivery.body, type=_Advisory)
        except msgspec.DecodeError as error:
            logger.error("advisory %s cannot be read: %s", delivery.sequence, error)  # noqa: TRY400
            return
        info = await self._api.find(f"CONSUMER.INFO.{advisory.stream}.{advisory.consumer}")
        if info is None or "callboard.kind" not in (consumer := ConsumerInfo.of(info)).metadata:
            return
        stored = await stored_message(self._api, advisory.stream, advisory.stream_seq)
        if stored is None:
            logger.error("message %s of %s was given up and is gone", advisory.stream_seq, advisory.consumer)
            return
        letter = self._letter(advisory, stored, consumer.metadata)
        await self._transport.dead_letters.put(letter, trace_headers(stored.headers))
        logger.error(
            "message %s of %s: %s",
            advisory.stream_seq,
            advisory.consumer,
            letter.error_message,
            extra={**letter.delivery.log_fields, "actor": letter.actor, "attempt": letter.attempts},
        )

    def _letter(self, advisory: _Advisory, stored: StoredMessage, metadata: dict[str, str]) -> DeadLetter:
        return DeadLetter(
            delivery=_GivenUp(
                stored.topic,
                stored.headers,
                stored.body,
                stream=advisory.stream,
                sequence=advisory.stream_seq,
                delivered=advisory.deliveries,
                durable=advisory.consumer,
                touched=0.0,
            ),
            error_type="MaxDeliveries",
            error_message=f"the server delivers it no more after {advisory.deliveries} deliveries, the durable's limit",
            traceback="",
            attempts=advisory.deliveries,
            at=self._transport.clock.now(),
            actor=metadata.get("callboard.actor", ""),
        )


@frozen
class _Advisory:
    """What the server says when a message was delivered too often (`io.nats.jetstream.advisory.v1.max_deliver`)."""

    stream: str
    consumer: str
    stream_seq: int
    deliveries: int


class _GivenUp(BrokerDelivery):
    """A message that the server has settled: nothing changes that."""

    __slots__ = ()

    async def ack(self) -> None: ...
    async def nak(self, delay: float = 0.0) -> None: ...
    async def term(self, reason: str) -> None: ...
    async def in_progress(self) -> None: ...
