"""Claiming on PostgreSQL: many claimants at once, each alive as long as its connection."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from attrs import define
from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.database.claim import FREE_DEAD, STILL_READY, Claim, Look, look, take
from callboard.database.claimant import Claimant
from callboard.database.database import TIMEOUT, Database
from callboard.database.schema import QUEUE, among, numbers

__all__ = ["NOTIFY", "PostgresClaimant"]

CHANNEL = "callboard_queue"
NOTIFY = select(func.pg_notify(CHANNEL, bindparam("queue_name")))
"""Tells all who wait for a queue that something came, once the transaction commits."""

LOOK_EVERY = 1.0
"""Seconds between two looks for claimants that died."""

# A host that vanished is noticed after 25 s, a process that was stopped in the middle of a claim after 5 s.
_SETTINGS = (
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET idle_in_transaction_session_timeout = '5s'",
)
_LOCK = (
    select(QUEUE.c.number)
    .where(among(QUEUE.c.number, numbers("numbers")), STILL_READY)
    .with_for_update(skip_locked=True)
)
_ADOPT = (
    update(QUEUE)
    .where(among(QUEUE.c.number, numbers("numbers")), among(QUEUE.c.owner, numbers("owners")))
    .values(owner=bindparam("claimant"))
)


@define(eq=False)
class _Session:
    """A connection, and the number under which it claims: an advisory lock that this connection holds."""

    connection: AsyncConnection
    driver: Any
    """The connection as asyncpg sees it."""
    owner: int
    looked: float = float("-inf")
    """When it last looked for claimants that died."""


class PostgresClaimant(Claimant):
    """Claims on a connection of its own, which also listens for what is put.

    Its number is a random one for which the connection holds an advisory lock. PostgreSQL drops the lock when the
    process dies, so others see at once that what is claimed under that number is free. When the connection breaks,
    the next one takes a new number, and with it those held entries that nobody has claimed meanwhile.
    """

    pace = LOOK_EVERY

    def __init__(self, database: Database, queue: str, *, wake: Callable[[], None]) -> None:
        super().__init__(database, queue, wake=wake)
        self._session: _Session | None = None

    async def _claim(self, count: int) -> Claim:
        async with self._used() as session:
            await self._free_dead(session)
            async with self.database.begun(session.connection):
                return await take(session.connection, self.queue, owner=session.owner, count=count, lock=_lock)

    async def _look(self) -> Look:
        async with self._used() as session:
            await self._free_dead(session)
            async with session.connection.begin():
                return self._later(await look(session.connection, self.queue))

    async def _close(self) -> None:
        await self._drop()

    @asynccontextmanager
    async def _used(self) -> AsyncGenerator[_Session]:
        """The session, opened when there is none. When anything fails it is given up: what was claimed without our
        learning of it belongs to a number that is dead then."""
        try:
            with self.database.trouble():
                async with asyncio.timeout(TIMEOUT):
                    yield await self._connected()
        except BaseException:
            await self._drop()
            raise

    async def _connected(self) -> _Session:
        if self._session is not None and self._session.driver.is_closed():
            await self._drop()
        if self._session is None:
            self._session = await self._connect()
        return self._session

    async def _connect(self) -> _Session:
        connection, driver = await self.database.session()
        session = _Session(connection, driver, secrets.randbits(63))
        try:
            await self._begin(session)
            await driver.add_listener(CHANNEL, self._heard)
            driver.add_termination_listener(self._lost)
        except BaseException:
            await _end(connection, driver)
            raise
        return session

    async def _begin(self, session: _Session) -> None:
        async with session.connection.begin():
            for setting in _SETTINGS:
                await session.connection.execute(text(setting))
            await session.connection.execute(select(func.pg_advisory_lock(session.owner)))
        if self.held:
            adopted = {"numbers": self.held, "owners": self.owners, "claimant": session.owner}
            async with session.connection.begin():
                await session.connection.execute(_ADOPT, adopted)
        self.owners.add(session.owner)

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.driver.remove_termination_listener(self._lost)
            await _end(session.connection, session.driver)

    async def _free_dead(self, session: _Session) -> None:
        """Free what claimants had that have died, now and then."""
        time = asyncio.get_running_loop().time()
        if time - session.looked > LOOK_EVERY / 2:
            async with session.connection.begin():
                await session.connection.execute(FREE_DEAD, {"queue_name": self.queue, "claimant": session.owner})
            session.looked = time

    def _heard(self, _driver: object, _process: int, _channel: str, payload: object) -> None:
        if payload == self.queue:
            self._wake()

    def _lost(self, _driver: object) -> None:
        self._wake()


async def _lock(connection: AsyncConnection, heads: Collection[int]) -> Collection[int]:
    return (await connection.execute(_LOCK, {"numbers": heads})).scalars().all()


async def _end(connection: AsyncConnection, driver: Any) -> None:
    """Close a connection that may be broken, without a farewell that it may never answer."""
    driver.terminate()
    with contextlib.suppress(SQLAlchemyError, OSError):
        await connection.invalidate()
    await connection.close()
