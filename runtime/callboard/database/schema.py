"""The tables as statements see them, and what SQLite and PostgreSQL say differently."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, Self

from sqlalchemy import BigInteger, Boolean, ColumnElement, Dialect, Float, Integer, LargeBinary, String, column, table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import BindParameter, TableClause, bindparam
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator

__all__ = ["HANDLED", "INSERT", "QUEUE", "among", "now", "numbers"]

QUEUE: TableClause = table(
    "callboard_queue",
    column("number", BigInteger),
    column("queue", String),
    column("key", String),
    column("message_id", String),
    column("topic", String),
    column("headers", String),
    column("body", LargeBinary),
    column("stream", String),
    column("sequence", BigInteger),
    column("durable", String),
    column("delivered", Integer),
    column("failed", Integer),
    column("owner", BigInteger),
    column("due", Float),
    column("put_at", Float),
)
HANDLED: TableClause = table(
    "callboard_handled",
    column("name", String),
    column("topic", String),
    column("identifier", String),
    column("at", Float),
)

INSERT: dict[str, Callable[[TableClause], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
"""The dialects' own INSERT, which knows ON CONFLICT."""


class now(FunctionElement[float]):  # noqa: N801 - a function of SQL
    """Seconds since 1970 by the database's clock, not that of the transaction's begin."""

    inherit_cache = True
    type = Float()


@compiles(now, "sqlite")
def _now_sqlite(_element: now, _compiler: SQLCompiler, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_postgresql(_element: now, _compiler: SQLCompiler, **_: Any) -> str:
    return "extract(epoch FROM clock_timestamp())::double precision"


class _Numbers(TypeDecorator[Collection[int]]):
    """Any count of numbers as one parameter: the statement's text stays the same, so it is prepared once."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.ARRAY(BigInteger()))
        return dialect.type_descriptor(String())

    def process_bind_param(self, value: Collection[int] | None, dialect: Dialect) -> Any:
        items = list(value or ())
        return items if dialect.name == "postgresql" else json.dumps(items)


def numbers(name: str) -> BindParameter[Collection[int]]:
    """A parameter for `among`."""
    return bindparam(name, type_=_Numbers())


class among(FunctionElement[bool]):  # noqa: N801 - an operator of SQL
    """Whether a column's value is one of the numbers of a parameter."""

    inherit_cache = True
    type = Boolean()

    def __init__(self, value: ColumnElement[int], parameter: BindParameter[Collection[int]]) -> None:
        super().__init__(value, parameter)

    def self_group(self, against: OperatorType | None = None) -> Self:  # noqa: ARG002
        """As it stands: SQLAlchemy would add `= 1` on SQLite, which then uses no index."""
        return self


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: SQLCompiler, **options: Any) -> str:
    value, parameter = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{value} IN (SELECT value FROM json_each({parameter}))"  # noqa: S608 - compiled parts


@compiles(among, "postgresql")
def _among_postgresql(element: among, compiler: SQLCompiler, **options: Any) -> str:
    value, parameter = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{value} = ANY ({parameter})"
