"""A message on its way out of a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.brokers.attempts import Attempts, Past
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.queue.queue import Origin, QueueEntry

if TYPE_CHECKING:
    from callboard.brokers.queue.mailbox import QueueMailbox

__all__ = ["QueueAttempts", "QueueDelivery"]


class QueueAttempts(Attempts):
    """Failed attempts, which are kept with the entry: `put_back` stores them. Deaths are not: an entry names no
    delivery that another process could settle."""

    def __init__(self) -> None:
        self._failed: dict[Origin, int] = {}

    async def past(self, delivery: BrokerDelivery) -> Past:
        return Past(self._failed.get(Origin.of(delivery), 0))

    async def record(self, delivery: BrokerDelivery, past: Past) -> None:
        self._failed[Origin.of(delivery)] = past.failed

    def begin(self, delivery: BrokerDelivery, failed: int) -> None:
        """What the entry says."""
        if failed:
            self._failed[Origin.of(delivery)] = failed

    def end(self, delivery: BrokerDelivery) -> int:
        """What the entry is to say when it goes back."""
        return self._failed.pop(Origin.of(delivery), 0)


class QueueDelivery(BrokerDelivery):
    """A message from a queue. It shows the stream, sequence and durable that it first came from, so that its reply, its
    outputs and its dead letter are those of that message; without an origin, the queue's name and its number there.
    """

    __slots__ = ("_mailbox", "entry")

    def __init__(self, mailbox: QueueMailbox, entry: QueueEntry, now: float) -> None:
        origin = entry.origin or Origin(mailbox.queue.name, entry.number, mailbox.queue.name)
        super().__init__(
            entry.frame.topic,
            entry.frame.headers,
            entry.frame.body,
            stream=origin.stream,
            sequence=origin.sequence,
            durable=origin.durable,
            delivered=entry.delivered,
            touched=now,
        )
        self._mailbox = mailbox
        self.entry = entry

    async def ack(self) -> None:
        self._end()

    async def nak(self, delay: float = 0.0) -> None:
        if not self.settled:
            self.settled = True
            self._mailbox.put_back(self, delay)

    async def term(self, reason: str) -> None:  # noqa: ARG002 - nobody reads it
        self._end()

    async def in_progress(self) -> None:
        """A claim lasts as long as its process: there is no lease to renew."""

    def _end(self) -> None:
        if not self.settled:
            self.settled = True
            self._mailbox.remove(self)
