"""An outbox in a database."""

from __future__ import annotations

from callboard.brokers.queue.publisher import BrokerPublisherQueue
from callboard.brokers.queue.queue import DEFAULT_RECORDS, DEFAULT_RETRY
from callboard.database.database import DatabaseLike
from callboard.database.queue import DatabaseBrokerQueue

__all__ = ["DatabaseBrokerPublisherQueue"]


class DatabaseBrokerPublisherQueue(DatabaseBrokerQueue, BrokerPublisherQueue):
    """Keeps what is to be published until it is; a message can be put in the transaction of what it is about."""

    def __init__(
        self,
        database: DatabaseLike,
        name: str = "outbox",
        *,
        retry: int = DEFAULT_RETRY,
        records: int = DEFAULT_RECORDS,
    ) -> None:
        super().__init__(database, name, retry=retry, records=records)
