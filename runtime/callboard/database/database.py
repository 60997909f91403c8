"""A database with Callboard's tables, its transactions and its troubles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from callboard.database.engine import (
    POSTGRESQL,
    SQLITE,
    check_engine,
    database_file,
    driver_errors,
    make_engine,
    secret_free,
)
from callboard.database.migration import migrate
from callboard.errors import CallboardError, DatabaseUnavailableError, InvalidArgumentError
from callboard.lifecycle import Resource

__all__ = ["TIMEOUT", "Database", "DatabaseLike", "tried"]

T = TypeVar("T")

TIMEOUT = 30.0
"""Seconds after which a transaction that gets no answer counts as failed."""
RETRY_PAUSE = 0.05
"""Seconds before the first quick retry; the second comes after twice as many."""

_ISOLATION = {POSTGRESQL: "READ COMMITTED", SQLITE: "AUTOCOMMIT"}  # on SQLite we write BEGIN IMMEDIATE ourselves
_TROUBLE = (exc.DBAPIError, exc.TimeoutError, exc.ResourceClosedError, OSError, TimeoutError)


class Database(Resource):
    """SQLite or PostgreSQL with the tables `callboard_*`, which setting up creates and brings up to date.

    `database` is a URL (`sqlite:///file.db`, `postgresql://user:password@host/name`) or an `AsyncEngine` of yours,
    which is used as it is and never disposed. Queues and validators make one of what they are given; one that several
    of them share is set up and destroyed by its owner.

    Setting up raises `DatabaseUnavailableError`, and `SchemaVersionError` when the tables are newer than this code.
    """

    def __init__(self, database: str | AsyncEngine) -> None:
        super().__init__()
        self._own = isinstance(database, str)
        engine = make_engine(database) if isinstance(database, str) else database
        check_engine(engine)
        self.name = secret_free(engine.url)
        """Its URL without the password."""
        self.dialect: str = engine.dialect.name
        self.file: Path | None = database_file(engine.url) if self.dialect == SQLITE else None
        self._engine = engine.execution_options(isolation_level=_ISOLATION[self.dialect])
        self._trouble: tuple[type[Exception], ...] = (*_TROUBLE, *driver_errors(engine))
        self._running: set[asyncio.Task[Any]] = set()

    @classmethod
    def of(cls, database: DatabaseLike) -> tuple[Self | Database, bool]:
        """The database that somebody was given, and whether it is theirs to destroy."""
        if isinstance(database, Database):
            return database, False
        return cls(database), True

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    async def _setup(self) -> None:
        await self.finish(self._migrate())

    async def _migrate(self) -> None:
        async with self._connection() as connection:
            await migrate(connection, self.begun, self.name)

    async def _destroy(self) -> None:
        if self._running:
            await asyncio.wait(self._running)
        if self._own:
            await self._engine.dispose()

    async def read(self, work: Work[T], *, retry: int = 0) -> T:
        """What `work` returns, given a connection to read with. Errors and cancellation as for `write`."""
        return await self.finish(tried(lambda: self._read(work), retry))

    async def write(self, work: Work[T], *, retry: int = 0) -> T:
        """What `work` returns, given a connection in a transaction that commits afterwards.

        Raises `DatabaseUnavailableError` when the database fails, after `retry` quick retries. A caller that is
        cancelled leaves the transaction to end by itself.
        """
        return await self.finish(tried(lambda: self._write(work), retry))

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work`, which goes on to its end when the caller is cancelled: `destroy` waits for it.

        SQLAlchemy throws the connection away when a statement is cancelled, and with it what was about to commit.
        """
        return await asyncio.shield(self.begin(work))

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Work that goes on to its end, whoever waits for it; `destroy` does."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # of which nobody may hear any more

    @asynccontextmanager
    async def begun(self, connection: AsyncConnection) -> AsyncGenerator[None]:
        """A transaction for writing on a connection of ours; commits, or rolls back on an error."""
        async with connection.begin():
            if self.dialect == SQLITE and not await _in_transaction(connection):
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield

    async def session(self) -> tuple[AsyncConnection, Any]:
        """A connection for a long time, outside the pool, and the driver's object behind it. Whoever opens it closes
        it."""
        opening = self.begin(self._open())
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            self.begin(_close(opening))
            raise

    async def _open(self) -> tuple[AsyncConnection, Any]:
        with self.trouble():
            connection = await self._engine.connect()
            driver = await _driver(connection)
            await connection.run_sync(lambda sync: sync.detach())
            return connection, driver

    async def joined(self, transaction: AsyncConnection | AsyncSession) -> AsyncConnection:
        """The connection of a user's own transaction. Raises `InvalidArgumentError` for anything else, and when
        it is certainly one to another database."""
        if not isinstance(transaction, AsyncConnection | AsyncSession):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(
                f"transaction is an AsyncSession or AsyncConnection of SQLAlchemy, not {type(transaction).__name__}"
            )
        connection = await transaction.connection() if isinstance(transaction, AsyncSession) else transaction
        if connection.dialect.name != self.dialect:
            raise InvalidArgumentError(
                f"the transaction is one of {connection.dialect.name}, the queue is in {self.name}"
            )
        return connection

    @contextmanager
    def trouble(self) -> Generator[None]:
        """Errors of the database as `DatabaseUnavailableError`."""
        try:
            yield
        except CallboardError:
            raise
        except self._trouble as error:
            raise DatabaseUnavailableError(self.name, _reason(error)) from error

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[AsyncConnection]:
        with self.trouble():
            async with asyncio.timeout(TIMEOUT), self._engine.connect() as connection:
                yield connection

    async def _read(self, work: Work[T]) -> T:
        async with self._connection() as connection:
            return await work(connection)

    async def _write(self, work: Work[T]) -> T:
        async with self._connection() as connection, self.begun(connection):
            return await work(connection)


DatabaseLike: TypeAlias = Database | AsyncEngine | str
"""What can be named as the database of a queue or validator."""
Work: TypeAlias = Callable[[AsyncConnection], Awaitable[T]]


async def tried(work: Callable[[], Awaitable[T]], retry: int) -> T:
    """What `work` returns, after `retry` quick retries at most while the database is not available."""
    for done in range(retry):
        try:
            return await work()
        except DatabaseUnavailableError:
            await asyncio.sleep(RETRY_PAUSE * 2**done)
    return await work()


async def _close(opening: asyncio.Task[tuple[AsyncConnection, Any]]) -> None:
    """Close a connection that nobody waits for any more, once it is open."""
    with suppress(CallboardError):
        connection, _ = await opening
        await connection.close()


async def _in_transaction(connection: AsyncConnection) -> bool:
    """Whether an engine of the user has begun one by itself (SQLAlchemy's recipe for SQLite does)."""
    return bool((await _driver(connection)).in_transaction)


async def _driver(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection


def _reason(error: BaseException) -> str:
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    cause = cause.__cause__ or cause
    return " ".join(str(cause).split()) or type(cause).__name__
