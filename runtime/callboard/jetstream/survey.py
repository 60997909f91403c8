"""What waits in mailboxes, and for how long: asked for all mailboxes of a stream at once.

A mailbox by itself knows what it was handed, not what waits behind that, nor what others hold. A thousand idle
mailboxes on one stream cost a few calls every ten seconds: their server says everything of them page by page.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from attrs import frozen

from callboard.errors import PermissionDeniedError, SubstrateError
from callboard.jetstream.api import ApiError, JetStreamApi
from callboard.jetstream.connection import NatsConnection
from callboard.jetstream.stream import NANOSECONDS
from callboard.statistics import MailboxStatistics, Statistics

__all__ = ["Survey"]

logger = logging.getLogger("callboard.mailbox")

FIRST_LOOK = 1.0
"""Seconds until the first look: the mailboxes of a start are open by then."""
PERIOD = 10.0
"""Seconds between two looks."""
ALARM_SHARE = 0.8
"""Part of the stream's `max_age` after which a message that waits is an alarm."""
RELIEF_SHARE = 0.7
"""Part of it below which the alarm is over: less, so that a mailbox at the limit does not say both again and again."""


@frozen
class _Age:
    """How long the oldest unsettled message of a mailbox has waited, in seconds."""

    seconds: float = 0.0
    limit: float = 0.0
    """How long its stream keeps a message; 0.0: for ever."""

    def is_above(self, share: float) -> bool:
        return self.limit > 0 and self.seconds >= self.limit * share


class Survey:
    """Keeps lag, unsettled messages and the age of the oldest one up to date in `statistics`, for parked actors too,
    and raises the alarm before a stream drops what nobody has settled.

    Asks nothing while the connection is away, and raises nothing. An account that may not ask is told so once.
    """

    def __init__(
        self,
        connection: NatsConnection,
        api: JetStreamApi,
        statistics: Callable[[], Statistics],
    ) -> None:
        self._connection = connection
        self._api = api
        self._statistics = statistics
        self._overdue: set[str] = set()
        """Durables whose alarm was raised and is not over."""
        self._forbidden = False

    async def run(self) -> None:
        """Look every 10 s until cancelled, or forbidden."""
        await asyncio.sleep(FIRST_LOOK)
        while not self._forbidden:
            await self.look()
            await asyncio.sleep(PERIOD)

    async def look(self) -> None:
        """Look once. Mailboxes of which the server says nothing now keep the numbers that they have."""
        streams: defaultdict[str, dict[str, MailboxStatistics]] = defaultdict(dict)
        for mailbox in self._statistics().mailboxes.values():
            if mailbox.stream:
                streams[mailbox.stream][mailbox.durable] = mailbox
        for stream, mailboxes in streams.items():
            if not self._connection.client.is_connected or self._forbidden:
                return
            await self._tried(stream, mailboxes)

    async def _tried(self, stream: str, mailboxes: dict[str, MailboxStatistics]) -> None:
        try:
            await self._stream(stream, mailboxes)
        except PermissionDeniedError as error:
            self._forbidden = True
            logger.warning("what waits in mailboxes is not known, and too old messages raise no alarm: %s", error)
        except (SubstrateError, ApiError) as error:
            logger.debug("what waits in the mailboxes of stream %s is not known now: %s", stream, error)
        except Exception:
            logger.exception("what waits in the mailboxes of stream %s cannot be read", stream)

    async def _stream(self, stream: str, mailboxes: dict[str, MailboxStatistics]) -> None:
        consumers = [consumer for consumer in await self._api.consumers(stream) if consumer.name in mailboxes]
        limit = await self._limit(stream) if any(consumer.waits for consumer in consumers) else 0.0
        for consumer in consumers:
            mailbox = mailboxes[consumer.name]
            mailbox.lag_now, mailbox.ack_pending_now = consumer.pending, consumer.unsettled
            age = _Age(await self._api.oldest(stream, consumer), limit) if consumer.waits else _Age()
            mailbox.age_now = age.seconds
            self._judge(mailbox, age)

    async def _limit(self, stream: str) -> float:
        """Seconds for which a stream keeps its messages; 0.0: for ever."""
        info: dict[str, Any] = await self._api.call(f"STREAM.INFO.{stream}")
        return float(info["config"].get("max_age", 0)) / NANOSECONDS

    def _judge(self, mailbox: MailboxStatistics, age: _Age) -> None:
        """One line when the alarm begins, and one when it is over."""
        if mailbox.durable not in self._overdue and age.is_above(ALARM_SHARE):
            self._overdue.add(mailbox.durable)
            logger.error(
                "mailbox %s: its oldest message has waited %.0f s, and stream %s drops messages after %.0f s; %d wait "
                "and %d are not settled: add workers ('--workers'), or raise the stream's max_age ('streams.max_age')",
                mailbox.durable,
                age.seconds,
                mailbox.stream,
                age.limit,
                mailbox.lag_now,
                mailbox.ack_pending_now,
            )
        elif mailbox.durable in self._overdue and not age.is_above(RELIEF_SHARE):
            self._overdue.discard(mailbox.durable)
            logger.warning("mailbox %s: its messages are not about to be dropped any more", mailbox.durable)
