"""The tables of Callboard in somebody's database."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.database import Database, DatabaseBrokerQueue, migration
from callboard.errors import SchemaVersionError
from tests.database.order import bodies, claim, put

TABLES = {"callboard_queue", "callboard_handled", "callboard_schema"}


async def tables(database: Database) -> set[str]:
    return await database.read(
        lambda connection: connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    )


async def execute(database: Database, statement: str) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(text(statement))

    await database.write(work)


async def version(database: Database) -> list[int]:
    async def work(connection: AsyncConnection) -> list[int]:
        return list((await connection.execute(text("SELECT version FROM callboard_schema"))).scalars())

    return await database.read(work)


async def test_empty_database_gets_its_tables(url: str) -> None:
    async with Database(url) as database:
        assert await tables(database) == TABLES
        assert await version(database) == [len(migration.MIGRATIONS)]


async def test_tables_that_are_there_keep_what_is_in_them(url: str) -> None:
    async with DatabaseBrokerQueue(url, "orders") as queue:
        await put(queue, 1)
    async with DatabaseBrokerQueue(url, "orders") as queue:
        assert bodies(await claim(queue)) == [1]


async def test_those_that_start_at_once_migrate_once(url: str) -> None:
    databases = [Database(url) for _ in range(6)]
    await asyncio.gather(*(database.setup() for database in databases))
    assert await version(databases[0]) == [len(migration.MIGRATIONS)]
    await asyncio.gather(*(database.destroy() for database in databases))


async def test_newer_tables_are_refused_and_left_alone(url: str) -> None:
    async with Database(url) as database:
        await execute(database, "UPDATE callboard_schema SET version = 99")
        await execute(database, "DROP TABLE callboard_handled")
        newer = Database(url)
        with pytest.raises(SchemaVersionError, match="have version 99, this version of Callboard knows 1"):
            await newer.setup()
        assert await tables(database) == TABLES - {"callboard_handled"}
        assert await version(database) == [99]


async def test_older_tables_are_brought_up_to_date_with_what_is_in_them(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with DatabaseBrokerQueue(url, "orders") as queue:
        await put(queue, 1)
    monkeypatch.setattr(migration, "MIGRATIONS", [*migration.MIGRATIONS, add_colour])
    async with DatabaseBrokerQueue(url, "orders") as queue:
        assert await version(queue.database) == [len(migration.MIGRATIONS)]
        await execute(queue.database, "SELECT colour FROM callboard_queue")
        assert bodies(await claim(queue)) == [1]


async def test_migration_that_fails_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Database(url) as database:
        monkeypatch.setattr(migration, "MIGRATIONS", [*migration.MIGRATIONS, add_colour, fail])
        with pytest.raises(KeyError):
            await Database(url).setup()
        assert await version(database) == [1]
        monkeypatch.undo()
        monkeypatch.setattr(migration, "MIGRATIONS", [*migration.MIGRATIONS, add_colour])
        async with Database(url):
            assert await version(database) == [2]


def add_colour(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE callboard_queue ADD COLUMN colour TEXT")


def fail(_connection: Connection) -> None:
    raise KeyError
