"""A queue in a database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, Float, bindparam, case, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.brokers.queue.queue import DEFAULT_RECORDS, DEFAULT_RETRY, BrokerQueue, Origin, QueueEntry
from callboard.brokers.wire import Frame
from callboard.database.claim import Look
from callboard.database.claimant import Claimant
from callboard.database.database import Database, DatabaseLike, tried
from callboard.database.engine import POSTGRESQL
from callboard.database.entry import check_key, row_of
from callboard.database.gathering import Gathering
from callboard.database.postgresql import NOTIFY, PostgresClaimant
from callboard.database.schema import INSERT, QUEUE, among, now, numbers
from callboard.database.settling import PutBack, Released, Removed, Settlement, Settling
from callboard.database.sqlite import SqliteClaimant
from callboard.errors import DatabaseUnavailableError

__all__ = ["DatabaseBrokerQueue"]

_COUNT = select(func.count()).select_from(QUEUE).where(QUEUE.c.queue == bindparam("queue_name"))
_REMOVE = delete(QUEUE).where(among(QUEUE.c.number, numbers("numbers")))
_mine = among(QUEUE.c.owner, numbers("owners"))
_RELEASE = (
    update(QUEUE)
    .where(among(QUEUE.c.number, numbers("numbers")), _mine)
    .values(owner=None, delivered=QUEUE.c.delivered - 1)
)
_delay: BindParameter[float] = bindparam("delay", type_=Float)
_PUT_BACK = (
    update(QUEUE)
    .where(QUEUE.c.number == bindparam("entry"), _mine)
    .values(owner=None, due=case((_delay > 0, now() + _delay)), failed=bindparam("failures"))
)


class DatabaseBrokerQueue(BrokerQueue):
    """Keeps messages in the table `callboard_queue` of an SQLite or PostgreSQL database.

    `database` is a URL, an `AsyncEngine` or a `Database`; see `Database`. Queues of one name there share their entries.
    On PostgreSQL any number of processes claim side by side; on SQLite one at a time does, and the next one takes over
    when it ends. Entries of one key come in the order of `put` where one transaction began after the other had
    committed.

    What `remove`, `release` and `put_back` say is on record at once and written in the background, again and again
    while the database is away; `destroy` writes what is left. Each other call raises `DatabaseUnavailableError`
    after `retry` quick retries, and works again once the database is back.

    `put` takes an `AsyncSession` or `AsyncConnection` of yours as `transaction`; set the queue up before you begin it.
    """

    def __init__(
        self, database: DatabaseLike, name: str, *, retry: int = DEFAULT_RETRY, records: int = DEFAULT_RECORDS
    ) -> None:
        super().__init__(name, retry=retry, records=records)
        self._attach(database)

    def _attach(self, database: DatabaseLike) -> None:
        self.database, self._own = Database.of(database)
        self._wake = asyncio.Event()
        self._wake.set()
        self._claimant = self._new_claimant()
        self._claiming = asyncio.Lock()
        self._claimed: asyncio.Future[list[QueueEntry]] | None = None
        """A claim that is under way, or whose caller was cancelled before it got the entries."""
        self._puts = Gathering(self._put_all)
        self._settling = Settling(self.name, self._settle_all)

    def _new_claimant(self) -> Claimant:
        kind = PostgresClaimant if self.database.dialect == POSTGRESQL else SqliteClaimant
        return kind(self.database, self.name, wake=self._wake.set)

    async def _setup(self) -> None:
        await self.database.setup()
        self._claimant.open()

    async def _destroy(self) -> None:
        await self._puts.close()
        await self._leave_claim()
        await self._settling.close()
        await self._claimant.close()
        self._wake.set()
        if self._own:
            await self.database.destroy()

    async def _leave_claim(self) -> None:
        """Let a claim end that somebody was cancelled in; what it brought is given up with everything else."""
        claimed, self._claimed = self._claimed, None
        if claimed is not None:
            await asyncio.wait([claimed])
            claimed.exception()  # nobody is left whom it would concern

    # putting

    async def put(
        self, frame: Frame, *, key: str | None = None, origin: Origin | None = None, transaction: Any = None
    ) -> None:
        check_key(key)
        await self.setup()
        row = row_of(frame, key=key, origin=origin)
        if transaction is not None:  # which may hold the lock that a write of ours would wait for
            await self._insert(await self.database.joined(transaction), [row])
            return
        await self._settling.flush()  # what is removed does not wait: the same message is a new one
        await self._puts.add(row)

    async def _put_all(self, rows: Sequence[dict[str, Any]]) -> None:
        await self.database.write(lambda connection: self._insert(connection, rows), retry=self.retry)
        self._wake.set()

    async def _insert(self, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
        statement = INSERT[self.database.dialect](QUEUE).values(queue=self.name, delivered=0, failed=0, put_at=now())
        await connection.execute(statement.on_conflict_do_nothing(), list(rows))
        await self._notify(connection)

    async def _notify(self, connection: AsyncConnection) -> None:
        if self.database.dialect == POSTGRESQL:
            await connection.execute(NOTIFY, {"queue_name": self.name})

    # claiming

    async def claim(self, count: int) -> list[QueueEntry]:
        await self.setup()
        async with self._claiming:
            if self._claimed is None:
                self._claimed = asyncio.ensure_future(self._claim(min(count, self.records)))
            try:
                claimed = await asyncio.shield(self._claimed)
            except Exception:
                self._claimed = None
                raise
            self._claimed = _claimed(claimed[count:])
            return claimed[:count]

    async def _claim(self, count: int) -> list[QueueEntry]:
        await self._settling.flush()
        self._wake.clear()
        more = True  # a claim that fails has seen nothing
        try:
            claim = await tried(lambda: self._claimant.claim(count), self.retry)
            more = claim.more
        finally:
            if more:
                self._wake.set()
        return list(claim.entries)

    async def wait(self) -> None:
        await self.setup()
        while not self._promising():
            look = await self.database.finish(self._look())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(look.wait, self._claimant.pace))):
                    await self._wake.wait()

    def _promising(self) -> bool:
        return self._wake.is_set() or self._claimed is not None

    async def _look(self) -> Look:
        """Wakes whoever waits, so that what was seen is not lost with a caller that is cancelled."""
        look = await tried(self._claimant.look, self.retry)
        if look.promising:
            self._wake.set()
        return look

    # settling

    async def remove(self, numbers: Sequence[int]) -> None:
        await self.setup()
        self._settle([Removed(number) for number in numbers])

    async def release(self, numbers: Sequence[int]) -> None:
        await self.setup()
        self._settle([Released(number) for number in numbers])
        await self._written()

    async def put_back(self, number: int, *, delay: float, failed: int) -> None:
        await self.setup()
        due = asyncio.get_running_loop().time() + delay
        self._settle([PutBack(number, due, failed)])
        await self._written()

    def _settle(self, settlements: Sequence[Settlement]) -> None:
        self._claimant.held.difference_update(one.number for one in settlements)
        self._settling.add(settlements)

    async def _written(self) -> None:
        """Give what is on record the time to be written. When that fails now, it is tried again."""
        with contextlib.suppress(DatabaseUnavailableError):
            await self._settling.flush()

    async def _settle_all(self, settlements: Sequence[Settlement]) -> None:
        await self.database.write(lambda connection: self._apply(connection, settlements), retry=self.retry)
        self._wake.set()

    async def _apply(self, connection: AsyncConnection, settlements: Sequence[Settlement]) -> None:
        owners = self._claimant.owners
        removed = [one.number for one in settlements if isinstance(one, Removed)]
        released = [one.number for one in settlements if isinstance(one, Released)]
        back = [one for one in settlements if isinstance(one, PutBack)]
        time = asyncio.get_running_loop().time()
        if removed:
            await connection.execute(_REMOVE, {"numbers": removed})
        if released:
            await connection.execute(_RELEASE, {"numbers": released, "owners": owners})
        for one in back:
            parameters = {"entry": one.number, "owners": owners, "delay": one.due - time, "failures": one.failed}
            await connection.execute(_PUT_BACK, parameters)
        if released or back:
            await self._notify(connection)

    async def count(self) -> int:
        await self.setup()
        await self._settling.flush()
        return await self.database.read(self._count, retry=self.retry)

    async def _count(self, connection: AsyncConnection) -> int:
        return int((await connection.execute(_COUNT, {"queue_name": self.name})).scalar_one())


def _claimed(entries: list[QueueEntry]) -> asyncio.Future[list[QueueEntry]] | None:
    """Entries that are left of a claim, for the next one."""
    if not entries:
        return None
    left: asyncio.Future[list[QueueEntry]] = asyncio.get_running_loop().create_future()
    left.set_result(entries)
    return left
