"""Messages that are handled once, although they arrive twice."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from uuid import UUID

from callboard.brokers.validator import BrokerSubscriberValidator
from callboard.clock import SYSTEM_CLOCK, Clock
from callboard.errors import InvalidArgumentError, SubstrateError
from callboard.message import BrokerMessage

__all__ = [
    "DEFAULT_RETENTION",
    "BrokerSubscriberDuplicateValidator",
    "InMemoryBrokerSubscriberDuplicateValidator",
]

logger = logging.getLogger("callboard.duplicate")

DEFAULT_RETENTION = 7 * 86400.0
"""Seconds for which a handled message is remembered."""
PURGE = 60.0
"""Seconds between two looks for what may be forgotten."""


class BrokerSubscriberDuplicateValidator(BrokerSubscriberValidator):
    """Refuses a message of which a copy (same topic and identifier) was handled in the last `retention` seconds.

    A message counts as handled when it is about to be acknowledged, not before: one that failed, was handed back or
    was dead-lettered runs again. While a copy is being handled in this process, the others wait for its end; two copies
    at the same time in two processes both run.
    """

    duplicates = True

    def __init__(self, *, retention: float = DEFAULT_RETENTION, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__()
        if retention <= 0:
            raise InvalidArgumentError(f"retention is a number of seconds above 0, not {retention!r}")
        self.retention = retention
        self.clock = clock
        self._running: dict[tuple[str, UUID], asyncio.Event] = {}
        """Let through and not settled; set at its end."""
        self._purged: float | None = None

    async def _is_valid(self, message: BrokerMessage) -> bool:
        name = (message.topic, message.identifier)
        while (copy := self._running.get(name)) is not None:
            await copy.wait()
        self._running[name] = asyncio.Event()
        valid = False
        try:
            valid = not await self._known(*name)
        finally:
            if not valid:
                self._end(message)
        return valid

    async def handled(self, message: BrokerMessage) -> None:
        try:
            await self._mark(message.topic, message.identifier)
        finally:
            self._end(message)
        await self._purge_in_time()

    async def released(self, message: BrokerMessage) -> None:
        self._end(message)

    def _end(self, message: BrokerMessage) -> None:
        if (running := self._running.pop((message.topic, message.identifier), None)) is not None:
            running.set()

    async def _purge_in_time(self) -> None:
        now = self.clock.time()
        if self._purged is not None and now - self._purged < PURGE:
            return
        self._purged = now
        try:
            await self._purge()
        except SubstrateError as error:
            logger.warning("old marks are kept for now: %s", error)

    @abstractmethod
    async def _known(self, topic: str, identifier: UUID) -> bool:
        """Whether a copy was marked as handled, not longer than `retention` seconds ago."""

    @abstractmethod
    async def _mark(self, topic: str, identifier: UUID) -> None:
        """Remember, for `retention` seconds from now, that this was handled. Doing so again is no error."""

    @abstractmethod
    async def _purge(self) -> None:
        """Forget marks that are older than `retention` seconds. Called about once a minute while marks are made."""


class InMemoryBrokerSubscriberDuplicateValidator(BrokerSubscriberDuplicateValidator):
    """Remembers as long as it lives."""

    def __init__(self, *, retention: float = DEFAULT_RETENTION, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(retention=retention, clock=clock)
        self._marks: dict[tuple[str, UUID], float] = {}
        """When each was handled, oldest first."""

    async def _known(self, topic: str, identifier: UUID) -> bool:
        at = self._marks.get((topic, identifier))
        return at is not None and not self._old(at)

    async def _mark(self, topic: str, identifier: UUID) -> None:
        self._marks.pop((topic, identifier), None)
        self._marks[topic, identifier] = self.clock.time()

    async def _purge(self) -> None:
        while self._marks:
            name, at = next(iter(self._marks.items()))
            if not self._old(at):
                return
            del self._marks[name]

    def _old(self, at: float) -> bool:
        return self.clock.time() - at >= self.retention
