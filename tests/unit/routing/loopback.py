"""A transport inside the process, for tests of the handler loop.

It delivers what is put in, keeps what is published, brings a nak back, and writes down in `journal` everything
that happens, in order. A nak with a delay waits until the test calls `pass_time`. With `away` set, nothing can be
stored, as when no server answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any
from uuid import UUID

from callboard.brokers import wire
from callboard.brokers.attempts import NO_PAST, Attempts, Past
from callboard.brokers.deadletter import DeadLetter, DeadLetters
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import Lane
from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.transport import BrokerTransport, Receipt, ReplyBox, Tick, Topology
from callboard.errors import NoStreamError, PublishUnknownError
from callboard.message import BrokerMessageV1, BrokerMessageV1Payload

__all__ = ["Entry", "LoopbackDelivery", "LoopbackTransport"]


class Entry:
    """One stored message: what was delivered of it so far, and how it ended."""

    def __init__(self, transport: LoopbackTransport, frame: wire.Frame, sequence: int) -> None:
        self.transport = transport
        self.frame = frame
        self.sequence = sequence
        self.delivered = 0
        self.end = ""
        """`ack` or `term`, once it has ended."""

    async def ended(self) -> str:
        """Wait for the ack or the term, and say which."""
        await self.transport.until(lambda: bool(self.end))
        return self.end


class LoopbackDelivery(BrokerDelivery):
    """Settles by changing its entry."""

    __slots__ = ("_entry", "_mailbox")

    def __init__(self, entry: Entry, mailbox: _Mailbox, now: float) -> None:
        entry.delivered += 1
        super().__init__(
            entry.frame.topic,
            entry.frame.headers,
            entry.frame.body,
            stream="LOOPBACK",
            sequence=entry.sequence,
            delivered=entry.delivered,
            durable=mailbox.durable,
            touched=now,
        )
        self._entry = entry
        self._mailbox = mailbox

    async def ack(self) -> None:
        if self._settle("ack"):
            self._entry.end = "ack"

    async def nak(self, delay: float = 0.0) -> None:
        if self._settle(f"nak after {delay:g}" if delay else "nak"):
            self._mailbox.bring_back(self._entry, delay)

    async def term(self, reason: str) -> None:
        if self._settle("term"):
            self._entry.end = "term"

    async def in_progress(self) -> None:
        self.touched = asyncio.get_running_loop().time()
        self._entry.transport.note(f"in-progress {self.sequence}")

    def _settle(self, how: str) -> bool:
        if self.settled:
            return False
        self.settled = True
        self._entry.transport.note(f"{how} {self.sequence}")
        return True


class _Mailbox:
    """What waits for one durable."""

    def __init__(self, durable: str, matches: Callable[[str], bool]) -> None:
        self.durable = durable
        self.matches = matches
        self.lane: Lane | None = None
        self.closed = False
        self.backlog: deque[Entry] = deque()
        self.postponed: list[Entry] = []

    def put(self, entry: Entry) -> None:
        self.backlog.append(entry)
        self.refill()

    def bring_back(self, entry: Entry, delay: float) -> None:
        if delay:
            self.postponed.append(entry)
        else:
            self.put(entry)

    def refill(self) -> None:
        """Hand over what there is room for."""
        while self.backlog and not self.closed and self.lane is not None and self.lane.room > 0:
            now = asyncio.get_running_loop().time()
            self.lane.offer(LoopbackDelivery(self.backlog.popleft(), self, now))

    async def drain(self) -> None:
        self.closed = True
        while self.lane is not None and self.lane.waiting:
            await self.lane.waiting.popleft().nak()


class LoopbackSubscriber(BrokerSubscriber):
    """The mailboxes of one actor."""

    def __init__(self, transport: LoopbackTransport, mailboxes: Sequence[tuple[MailboxSpec, _Mailbox]]) -> None:
        super().__init__((spec.template.filter for spec, _ in mailboxes), transport=transport)
        self._mailboxes = mailboxes

    async def _setup(self) -> None:
        for spec, mailbox in self._mailboxes:
            mailbox.lane = self.intake.lane(spec.concurrency, mailbox.refill)
            mailbox.lane.lease = spec.ack_wait
            mailbox.refill()

    async def drain(self) -> None:
        self.intake.close()
        for _, mailbox in self._mailboxes:
            await mailbox.drain()

    async def _destroy(self) -> None:
        await self.drain()


class _Attempts(Attempts):
    def __init__(self, transport: LoopbackTransport) -> None:
        self._transport = transport
        self._pasts: dict[tuple[str, int], Past] = {}

    async def past(self, delivery: BrokerDelivery) -> Past:
        return self._pasts.get((delivery.durable, delivery.sequence), NO_PAST)

    async def record(self, delivery: BrokerDelivery, past: Past) -> None:
        self._transport.note(f"attempts {delivery.sequence} = {past.failed}")
        self.keep(delivery.durable, delivery.sequence, past)

    def keep(self, durable: str, sequence: int, past: Past) -> None:
        self._pasts[durable, sequence] = past


class _DeadLetters(DeadLetters):
    def __init__(self, transport: LoopbackTransport) -> None:
        self._transport = transport
        self.stored: list[DeadLetter] = []

    async def put(self, letter: DeadLetter, carrier: dict[str, str]) -> None:
        self._transport.check("_callboard.dead")
        self._transport.note(f"dead letter {letter.delivery.sequence}")
        self.stored.append(letter)


class LoopbackTransport(BrokerTransport):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.journal: list[str] = []
        self.published: list[wire.Frame] = []
        self.replies: list[wire.Frame] = []
        self.refused: set[str] = set()
        """Topics that no stream holds."""
        self.away = False
        self._count = 0
        self._mailboxes: list[_Mailbox] = []
        self._ticks: list[Tick] = []
        self._changed = asyncio.Event()
        self._attempts = _Attempts(self)
        self.attempts = self._attempts
        self._dead_letters = _DeadLetters(self)
        self.dead_letters = self._dead_letters

    # For tests

    def put(
        self,
        topic: str,
        content: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        reply_topic: str | None = None,
        identifier: UUID | None = None,
        system: Mapping[str, str] | None = None,
    ) -> Entry:
        """A message from a client of Callboard; `system` are further system headers."""
        message = BrokerMessageV1(
            topic, BrokerMessageV1Payload(content, headers), identifier=identifier, reply_topic=reply_topic
        )
        return self.put_frame(wire.encode(message, system=system))

    def put_frame(self, frame: wire.Frame, *, delivered: int = 0) -> Entry:
        """A message as any client of NATS may send it, into each mailbox that listens on its topic. `delivered` is
        how often it was handed over before."""
        self._count += 1
        entry = Entry(self, frame, self._count)
        entry.delivered = delivered
        for mailbox in self._mailboxes:
            if mailbox.matches(frame.topic):
                mailbox.put(entry)
        return entry

    def listen(self, durable: str, matches: Callable[[str], bool]) -> _Mailbox:
        """A durable, with what is already in it."""
        for mailbox in self._mailboxes:
            if mailbox.durable == durable:
                mailbox.closed = False
                return mailbox
        self._mailboxes.append(mailbox := _Mailbox(durable, matches))
        return mailbox

    def remember(self, sequence: int, past: Past) -> None:
        """What happened to a message of the one mailbox before it is delivered."""
        (mailbox,) = self._mailboxes
        self._attempts.keep(mailbox.durable, sequence, past)

    def redeliver(self, entry: Entry) -> None:
        """Deliver a message of the one mailbox again, as a server does whose lease has run out."""
        (mailbox,) = self._mailboxes
        mailbox.put(entry)

    def pass_time(self) -> None:
        """Let every delay and every pause end."""
        for mailbox in self._mailboxes:
            if mailbox.lane is not None:
                mailbox.lane.tick(inf)
            postponed, mailbox.postponed = mailbox.postponed, []
            for entry in postponed:
                mailbox.put(entry)

    async def tick(self, now: float) -> None:
        """What the process's timer does, as if it were `now`."""
        for tick in tuple(self._ticks):
            for delivery in tick(now):
                await delivery.in_progress()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that happens here makes `condition` true."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def noted(self, line: str) -> None:
        """Wait until `line` is in the journal."""
        await self.until(lambda: line in self.journal)

    def note(self, line: str) -> None:
        """Write what happened into the journal."""
        self.journal.append(line)
        self._changed.set()

    @property
    def letters(self) -> list[DeadLetter]:
        """Dead letters, oldest first."""
        return self._dead_letters.stored

    @property
    def waiting(self) -> list[int]:
        """Sequences of what is not handed over, each mailbox's in order."""
        return [entry.sequence for mailbox in self._mailboxes for entry in mailbox.backlog]

    def check(self, topic: str) -> None:
        """Raises what a lost server or a missing stream raises."""
        if self.away:
            raise PublishUnknownError(topic, 15.0, "no answer")
        if topic in self.refused:
            raise NoStreamError(topic)

    # As a transport

    @property
    def servers(self) -> str:
        return "loopback"

    async def publish(self, frame: wire.Frame) -> Receipt:
        self.check(frame.topic)
        self.published.append(frame)
        self.note(f"publish {frame.topic}")
        return Receipt(frame.topic, frame.headers[wire.IDENTIFIER], "LOOPBACK", len(self.published), duplicate=False)

    async def send(self, frame: wire.Frame) -> None:
        self.check(frame.topic)
        self.replies.append(frame)
        self.note(f"send {frame.topic}")

    def reply_box(self) -> ReplyBox:
        raise NotImplementedError("no test of the handler loop makes a request")

    def is_inbox(self, topic: str) -> bool:
        return topic.startswith("_INBOX.")

    async def check_handled(self, topic: str) -> None:
        self.check(topic)

    async def prepare(self, topology: Topology) -> None:
        for spec in topology.mailboxes:
            self.listen(spec.durable, spec.template.matches)

    async def remove(self, mailboxes: Sequence[MailboxSpec]) -> None:
        durables = {spec.durable for spec in mailboxes}
        self._mailboxes = [mailbox for mailbox in self._mailboxes if mailbox.durable not in durables]

    def subscriber(self, mailboxes: Sequence[MailboxSpec]) -> BrokerSubscriber:
        return LoopbackSubscriber(
            self, [(spec, self.listen(spec.durable, spec.template.matches)) for spec in mailboxes]
        )

    def watch(self, tick: Tick) -> Callable[[], None]:
        self._ticks.append(tick)
        return lambda: self._ticks.remove(tick) if tick in self._ticks else None

    async def wait_closed(self) -> None:
        await asyncio.Event().wait()
