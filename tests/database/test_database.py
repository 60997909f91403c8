"""What can be named as a database, and what is done with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from callboard.database import Database, DatabaseBrokerQueue
from callboard.errors import ConfigError, DatabaseUnavailableError
from tests.database.order import bodies, claim, order, put

CLOSED_PORT = "postgresql://somebody:secret@127.0.0.1:1/orders?sslmode=prefer"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sqlite:///orders.db", "sqlite+aiosqlite:///orders.db"),
        ("sqlite+aiosqlite:///orders.db", "sqlite+aiosqlite:///orders.db"),
        ("postgresql://a:secret@host:1/orders", "postgresql+asyncpg://a:***@host:1/orders"),
        ("postgres://host/orders?password=secret", "postgresql+asyncpg://host/orders"),
        ("postgresql+asyncpg://host/orders", "postgresql+asyncpg://host/orders"),
    ],
)
def test_driver_is_chosen_and_no_secret_is_shown(address: str, shown: str) -> None:
    assert Database(address).name == shown
    assert repr(Database(address)) == f"Database({shown!r})"


@pytest.mark.parametrize(
    "address", ["mysql://a:secret@host/x", "postgresql+psycopg://a:secret@host/x", "sqlite+pysqlite:///x.db"]
)
def test_other_database_or_driver_is_refused_without_showing_secrets(address: str) -> None:
    with pytest.raises(ConfigError, match="none that queues can use: these are SQLite") as refusal:
        Database(address)
    assert "secret" not in str(refusal.value)


def test_text_that_is_no_address_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="not a URL; write") as refusal:
        Database("host user=a password=secret")
    assert "secret" not in str(refusal.value)


def test_engine_that_shares_one_connection_is_refused() -> None:
    with pytest.raises(ConfigError, match="poolclass=AsyncAdaptedQueuePool"):
        Database(create_async_engine("sqlite+aiosqlite://"))


async def test_database_that_is_away_is_reported_without_secrets() -> None:
    queue = DatabaseBrokerQueue(CLOSED_PORT, "orders")
    with pytest.raises(
        DatabaseUnavailableError, match=r"postgresql\+asyncpg://somebody:\*\*\*@127.0.0.1:1/orders"
    ) as e:
        await queue.setup()
    assert "secret" not in str(e.value)
    await queue.destroy()


async def test_file_that_cannot_be_opened_is_a_database_that_is_away(tmp_path: Path) -> None:
    queue = DatabaseBrokerQueue(f"sqlite:///{tmp_path}/missing/orders.db", "orders")
    with pytest.raises(DatabaseUnavailableError, match="unable to open"):
        await queue.setup()
    (tmp_path / "missing").mkdir()
    async with queue:
        await put(queue, 1)
        assert await queue.count() == 1


async def test_write_that_waits_too_long_for_another_is_reported_and_works_later(tmp_path: Path) -> None:
    async with DatabaseBrokerQueue(f"sqlite:///{tmp_path}/q.db?timeout=0.05", "orders") as queue:
        other = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/q.db", isolation_level="AUTOCOMMIT")
        async with other.connect() as connection:
            await connection.execute(text("BEGIN IMMEDIATE"))
            with pytest.raises(DatabaseUnavailableError, match="locked"):
                await put(queue, 1)
            await connection.execute(text("ROLLBACK"))
        await other.dispose()
        await put(queue, 2)
        assert bodies(await claim(queue)) == [2]


async def test_commits_in_a_file_of_ours_survive_a_crash_of_the_machine(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path}/queue.db") as database:

        async def settings(connection: AsyncConnection) -> list[object]:
            names = ("journal_mode", "synchronous", "busy_timeout")
            return [(await connection.execute(text(f"PRAGMA {name}"))).scalar() for name in names]

        assert await database.read(settings) == ["wal", 2, 5000]


async def test_engine_of_the_user_is_used_and_not_disposed(url: str) -> None:
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:").replace("ql:", "ql+asyncpg:"))
    async with engine.connect() as kept:
        async with DatabaseBrokerQueue(engine, "orders") as queue:
            await put(queue, 1)
        count = await kept.execute(text("SELECT count(*) FROM callboard_queue"))
        assert count.scalar() == 1
    await engine.dispose()


async def test_database_that_two_queues_share_is_left_to_its_owner(url: str) -> None:
    async with Database(url) as database:
        async with DatabaseBrokerQueue(database, "a") as first:
            await put(first, 1)
        async with DatabaseBrokerQueue(database, "b") as second:
            await put(second, 2)
            assert bodies(await claim(second)) == [2]


async def test_database_in_memory_works_for_its_process() -> None:
    async with DatabaseBrokerQueue("sqlite://", "orders") as queue:
        await put(queue, 1, 2)
        [first] = await queue.claim(1)
        await queue.put_back(first.number, delay=0.1, failed=1)
        assert bodies(await claim(queue)) == [2]
        assert bodies(await claim(queue)) == [1]


async def test_transaction_in_memory_is_seen_when_it_commits() -> None:
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0)
    async with DatabaseBrokerQueue(engine, "orders") as queue:
        assert await queue.claim(1) == []
        async with AsyncSession(engine) as session, session.begin():
            await queue.put(order(7), transaction=session)
        assert bodies(await claim(queue)) == [7]
    await engine.dispose()


@pytest.mark.parametrize("missing", ["sqlalchemy", "filelock"])
def test_package_that_is_missing_is_named_with_the_extra(missing: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from callboard.errors import MissingExtraError
try:
    import callboard.database
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'callboard[database]'" in done.stdout


@pytest.mark.parametrize(("driver", "address"), [("asyncpg", "postgresql://h/x"), ("aiosqlite", "sqlite://")])
def test_driver_that_is_missing_is_named_with_the_extra(driver: str, address: str) -> None:
    program = f"""
import sys
sys.modules[{driver!r}] = None
from callboard.database import Database
from callboard.errors import MissingExtraError
try:
    Database({address!r})
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'callboard[database]'" in done.stdout
