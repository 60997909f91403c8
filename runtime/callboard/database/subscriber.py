"""An inbox in a database."""

from __future__ import annotations

from collections.abc import Iterable

from callboard.brokers.queue.queue import DEFAULT_RECORDS, DEFAULT_RETRY
from callboard.brokers.queue.subscriber import BrokerSubscriberQueue
from callboard.database.database import DatabaseLike
from callboard.database.queue import DatabaseBrokerQueue

__all__ = ["DatabaseBrokerSubscriberQueue"]


class DatabaseBrokerSubscriberQueue(DatabaseBrokerQueue, BrokerSubscriberQueue):
    """Keeps what has been received until it is handled. Raises `InvalidArgumentError` for an empty set of topics."""

    def __init__(
        self,
        database: DatabaseLike,
        topics: Iterable[str],
        name: str = "inbox",
        *,
        retry: int = DEFAULT_RETRY,
        records: int = DEFAULT_RECORDS,
    ) -> None:
        BrokerSubscriberQueue.__init__(self, topics, name, retry=retry, records=records)
        self._attach(database)
