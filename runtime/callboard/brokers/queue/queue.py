"""Where messages wait in order, apart from any message system."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.wire import Frame
from callboard.errors import InvalidArgumentError
from callboard.lifecycle import Resource

__all__ = ["DEFAULT_RECORDS", "DEFAULT_RETRY", "BrokerQueue", "Origin", "QueueEntry"]

DEFAULT_RETRY = 2
"""Quick retries of what a queue does itself, before a message has to wait longer."""
DEFAULT_RECORDS = 1000
"""Entries taken at once at most."""


@frozen
class Origin:
    """The delivery that an entry was made of: the same message in its stream and durable."""

    stream: str
    sequence: int
    durable: str

    @classmethod
    def of(cls, delivery: BrokerDelivery) -> Origin:
        """Where a delivery came from."""
        return cls(delivery.stream, delivery.sequence, delivery.durable)


@frozen
class QueueEntry:
    """A message in a queue."""

    number: int
    """Its place: greater for what was put later."""
    frame: Frame
    key: str | None
    """Entries with the same key are handled one after another, in the order in which they were put; None: freely."""
    origin: Origin | None
    delivered: int
    """How often it was claimed, this time included."""
    failed: int
    """Failed attempts that `put_back` recorded."""


class BrokerQueue(Resource):
    """Messages that wait until somebody has handled them.

    Several queues of one `name` on one store share their entries; each entry is claimed by one of them at a time, and
    entries of one key all by the same. When the process of a claimant dies, its claims end with it, at once.

    Errors of the store are `SubstrateError`s: the same call may succeed later.
    """

    def __init__(self, name: str, *, retry: int = DEFAULT_RETRY, records: int = DEFAULT_RECORDS) -> None:
        super().__init__()
        if retry < 0:
            raise InvalidArgumentError(f"retry is a number of quick retries, 0 or more; not {retry!r}")
        if records < 1:
            raise InvalidArgumentError(f"records is a number of entries, 1 or more; not {records!r}")
        self.name = name
        self.retry = retry
        self.records = records

    @abstractmethod
    async def put(
        self, frame: Frame, *, key: str | None = None, origin: Origin | None = None, transaction: Any = None
    ) -> None:
        """Store a message: it is safe when this returns.

        With a `transaction` (a session or connection of yours, where the store has such) it is safe when that
        commits, and was never there when it rolls back. A message that waits already (same `Nats-Msg-Id`, or same
        origin) is not stored again. Cancelling leaves it unknown whether it is stored.
        """

    @abstractmethod
    async def claim(self, count: int) -> list[QueueEntry]:
        """Up to `count` entries that are due and nobody else has, oldest first; an empty list when there are none.

        An entry with a key comes only after, or together with, all earlier ones of its key.
        """

    @abstractmethod
    async def remove(self, numbers: Sequence[int]) -> None:
        """These are handled: forget them. Also when the claim on them was lost meanwhile."""

    @abstractmethod
    async def put_back(self, number: int, *, delay: float, failed: int) -> None:
        """Give up the claim on an entry, which is due again after `delay` seconds; `failed` attempts so far."""

    @abstractmethod
    async def release(self, numbers: Sequence[int]) -> None:
        """Give up the claim on entries that nobody has begun; that they were claimed does not count."""

    @abstractmethod
    async def wait(self) -> None:
        """Return when there may be something to claim: something was put, by whatever process, or came due. May return
        too often, never too late by more than a fraction of a second. Cancelling loses nothing."""

    @abstractmethod
    async def count(self) -> int:
        """Entries in the queue, claimed ones included."""
