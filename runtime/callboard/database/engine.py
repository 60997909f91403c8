"""From what a user names as database to an engine that Callboard can use."""

from __future__ import annotations

import sqlite3
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, StaticPool

from callboard.errors import ConfigError, MissingExtraError

__all__ = ["POSTGRESQL", "SQLITE", "check_engine", "database_file", "driver_errors", "make_engine", "secret_free"]

SQLITE = "sqlite"
POSTGRESQL = "postgresql"

CONNECT_TIMEOUT = 10.0
"""Seconds for a connection to PostgreSQL."""
BUSY_TIMEOUT = 5.0
"""Seconds for which a write waits for another process's on SQLite."""

_DRIVERS = {SQLITE: "aiosqlite", POSTGRESQL: "asyncpg", "postgres": "asyncpg"}


def secret_free(url: URL) -> str:
    """A URL as it may be shown: without the password, and without parameters, which may hold others."""
    return url.set(query={}).render_as_string(hide_password=True)


def make_engine(address: str) -> AsyncEngine:
    """An engine of our own. The driver of a URL that names none is the asynchronous one.

    Raises `ConfigError` for what is no URL of SQLite or PostgreSQL, `MissingExtraError` without their drivers.
    """
    url = _with_driver(_parsed(address))
    try:
        engine = create_async_engine(url, **_options(url))
    except ImportError as error:
        raise MissingExtraError(f"the database {secret_free(url)}", "database") from error
    if url.get_backend_name() == SQLITE:
        event.listen(engine.sync_engine, "connect", _make_durable)
    return engine


def check_engine(engine: AsyncEngine) -> None:
    """Raises `ConfigError` for an engine that queues cannot share with their user."""
    url = engine.url
    if _DRIVERS.get(engine.dialect.name) != engine.dialect.driver:
        raise ConfigError(_only_these(url))
    if isinstance(engine.pool, StaticPool):
        raise ConfigError(
            f"the engine of {secret_free(url)} shares one connection between all its users, so transactions would "
            "mix; create it with poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0, or name a file"
        )


def driver_errors(engine: AsyncEngine) -> tuple[type[Exception], ...]:
    """Errors of the driver, which come as they are where SQLAlchemy is not in between, as while connecting."""
    if engine.dialect.name == SQLITE:
        return (sqlite3.Error,)
    asyncpg: Any = import_module("asyncpg")
    return (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def database_file(url: URL) -> Path | None:
    """The file of an SQLite database; None for one in memory."""
    name = url.database or ":memory:"
    if ":memory:" in name or url.query.get("mode") == "memory":
        return None
    return Path(name.removeprefix("file:").partition("?")[0] if name.startswith("file:") else name)


def _parsed(address: str) -> URL:
    try:
        return make_url(address)
    except (ArgumentError, ValueError):
        raise ConfigError(
            "the database is not a URL; write 'sqlite:///file.db' or 'postgresql://user:password@host/name'"
        ) from None  # the text of the cause may hold a password


def _with_driver(url: URL) -> URL:
    backend, _, driver = url.drivername.partition("+")
    if (driver or _DRIVERS.get(backend)) != _DRIVERS.get(backend, ""):
        raise ConfigError(_only_these(url))
    name = POSTGRESQL if backend == "postgres" else backend
    if "sslmode" in url.query:  # what other drivers say, and people have in their URLs
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": url.query["sslmode"]})
    return url.set(drivername=f"{name}+{_DRIVERS[backend]}")


def _only_these(url: URL) -> str:
    return (
        f"the database {secret_free(url)} is none that queues can use: these are SQLite with aiosqlite "
        "('sqlite:///file.db') and PostgreSQL with asyncpg ('postgresql://host/name')"
    )


def _options(url: URL) -> dict[str, object]:
    if url.get_backend_name() == POSTGRESQL:
        return {"connect_args": {"timeout": CONNECT_TIMEOUT}}
    options: dict[str, object] = {} if "timeout" in url.query else {"connect_args": {"timeout": BUSY_TIMEOUT}}
    if database_file(url) is None:  # each connection would be a database of its own
        options |= {"poolclass": AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
    return options


def _make_durable(connection: sqlite3.Connection, _record: object) -> None:
    """A committed row survives a crash of the machine: with WAL, only synchronous=FULL promises that."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
