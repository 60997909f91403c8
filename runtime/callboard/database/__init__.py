"""Queues and a duplicate validator that live in a database: SQLite or PostgreSQL, through SQLAlchemy. Needs the extra
`database`; without it, importing this package raises `MissingExtraError`."""

from importlib import import_module

from callboard.errors import MissingExtraError

try:
    for name in ("filelock", "sqlalchemy.ext.asyncio"):
        import_module(name)
except ImportError as error:
    raise MissingExtraError("callboard.database", "database") from error


from callboard.database.database import Database
from callboard.database.duplicate import DatabaseBrokerSubscriberDuplicateValidator
from callboard.database.publisher import DatabaseBrokerPublisherQueue
from callboard.database.queue import DatabaseBrokerQueue
from callboard.database.subscriber import DatabaseBrokerSubscriberQueue

__all__ = [
    "Database",
    "DatabaseBrokerPublisherQueue",
    "DatabaseBrokerQueue",
    "DatabaseBrokerSubscriberDuplicateValidator",
    "DatabaseBrokerSubscriberQueue",
]
