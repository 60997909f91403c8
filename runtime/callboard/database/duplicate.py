"""Messages that are handled once, remembered in a database."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.brokers.duplicate import BrokerSubscriberDuplicateValidator
from callboard.brokers.queue.queue import DEFAULT_RETRY
from callboard.database.database import Database, DatabaseLike
from callboard.database.schema import HANDLED, INSERT, now
from callboard.message import BrokerMessage

__all__ = ["DatabaseBrokerSubscriberDuplicateValidator"]

_old = HANDLED.c.at <= now() - bindparam("retention")
_this = (
    (HANDLED.c.name == bindparam("name"))
    & (HANDLED.c.topic == bindparam("topic"))
    & (HANDLED.c.identifier == bindparam("identifier"))
)
_KNOWN = select(HANDLED.c.at).where(_this, ~_old)
_FORGET = delete(HANDLED).where(_this, _old)
_PURGE = delete(HANDLED).where(HANDLED.c.name == bindparam("name"), _old)


class DatabaseBrokerSubscriberDuplicateValidator(BrokerSubscriberDuplicateValidator):
    """Remembers in the table `callboard_handled` of an SQLite or PostgreSQL database, for all that use one `name`
    there.

    `database` is a URL, an `AsyncEngine` or a `Database`; see `Database`. Its clock says what is older than
    `retention` seconds.

    A message that two processes handle at the same time is marked by both, unless the handler calls `mark` with its own
    transaction: then only one of these commits.
    """

    def __init__(self, database: DatabaseLike, name: str = "handled", *, retention: float = 7 * 86400.0) -> None:
        super().__init__(retention=retention)
        self.name = name
        self.database, self._own = Database.of(database)

    async def mark(self, message: BrokerMessage, *, transaction: Any) -> None:
        """Mark a message as handled in a transaction of yours (`AsyncSession` or `AsyncConnection`, set up before).

        Raises SQLAlchemy's `IntegrityError` when the message is marked already: another handling of it was faster, and
        yours rolls back. When that one has not committed yet, this waits for it.
        """
        await self.setup()
        connection = await self.database.joined(transaction)
        parameters = self._parameters(message.topic, message.identifier)
        await connection.execute(_FORGET, parameters)
        await connection.execute(HANDLED.insert().values(at=now()), [_columns(parameters)])

    async def _setup(self) -> None:
        await self.database.setup()

    async def _destroy(self) -> None:
        if self._own:
            await self.database.destroy()

    async def _known(self, topic: str, identifier: UUID) -> bool:
        async def known(connection: AsyncConnection) -> bool:
            return (await connection.execute(_KNOWN, self._parameters(topic, identifier))).first() is not None

        return await self.database.read(known, retry=DEFAULT_RETRY)

    async def _mark(self, topic: str, identifier: UUID) -> None:
        insert = INSERT[self.database.dialect](HANDLED).values(at=now())
        again = insert.on_conflict_do_update(
            index_elements=[HANDLED.c.name, HANDLED.c.topic, HANDLED.c.identifier], set_={"at": insert.excluded.at}
        )

        async def mark(connection: AsyncConnection) -> None:
            await connection.execute(again, [_columns(self._parameters(topic, identifier))])

        await self.database.write(mark, retry=DEFAULT_RETRY)

    async def _purge(self) -> None:
        async def purge(connection: AsyncConnection) -> None:
            await connection.execute(_PURGE, {"name": self.name, "retention": self.retention})

        await self.database.write(purge)

    def _parameters(self, topic: str, identifier: UUID) -> dict[str, Any]:
        return {"name": self.name, "topic": topic, "identifier": str(identifier), "retention": self.retention}


def _columns(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name != "retention"}
