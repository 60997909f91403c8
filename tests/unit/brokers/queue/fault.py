"""Stores and publishers that fail when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from callboard import BrokerMessage, BrokerMessageV1, BrokerMessageV1Payload, BrokerPublisher
from callboard.brokers import wire
from callboard.brokers.queue import InMemoryBrokerQueue, InMemoryBrokerSubscriberQueue, InMemoryQueueStore
from callboard.brokers.queue.queue import BrokerQueue, Origin, QueueEntry
from callboard.brokers.transport import BrokerTransport
from callboard.brokers.wire import Frame
from callboard.clock import SYSTEM_CLOCK, Clock
from callboard.errors import ConnectionLostError

__all__ = ["AWAY", "FaultyInbox", "FaultyQueue", "KeepingPublisher", "frame", "message"]

AWAY = ConnectionLostError("the store", "away")


def message(content: Any, topic: str = "orders.placed") -> BrokerMessageV1:
    return BrokerMessageV1(topic, BrokerMessageV1Payload(content))


def frame(content: Any, topic: str = "orders.placed") -> Frame:
    return wire.encode(message(content, topic))


class _Fault(BrokerQueue):
    """Mixed in before a queue: each operation raises `failures` of its name first, and all of them while `away`."""

    failures: dict[str, list[BaseException]]
    calls: list[str]
    away: bool
    gate: asyncio.Event
    """What a claim waits for."""

    def break_down(self) -> None:
        self.failures = {}
        self.calls = []
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    def _check(self, operation: str) -> None:
        self.calls.append(operation)
        if self.away:
            raise AWAY
        if self.failures.get(operation):
            raise self.failures[operation].pop(0)

    async def put(
        self, frame: Frame, *, key: str | None = None, origin: Origin | None = None, transaction: Any = None
    ) -> None:
        self._check("put")
        await super().put(frame, key=key, origin=origin, transaction=transaction)  # type: ignore[safe-super]

    async def claim(self, count: int) -> list[QueueEntry]:
        self._check("claim")
        await self.gate.wait()
        return await super().claim(count)  # type: ignore[safe-super]

    async def remove(self, numbers: Sequence[int]) -> None:
        self._check("remove")
        await super().remove(numbers)  # type: ignore[safe-super]

    async def put_back(self, number: int, *, delay: float, failed: int) -> None:
        self._check("put_back")
        await super().put_back(number, delay=delay, failed=failed)  # type: ignore[safe-super]

    async def release(self, numbers: Sequence[int]) -> None:
        self._check("release")
        await super().release(numbers)  # type: ignore[safe-super]

    async def wait(self) -> None:
        self._check("wait")
        await super().wait()  # type: ignore[safe-super]


class FaultyQueue(_Fault, InMemoryBrokerQueue):
    def __init__(
        self, *, clock: Clock = SYSTEM_CLOCK, store: InMemoryQueueStore | None = None, records: int = 1000
    ) -> None:
        super().__init__("faulty", records=records)
        self.clock = clock
        self.store = store or self.store
        self.break_down()


class FaultyInbox(_Fault, InMemoryBrokerSubscriberQueue):
    def __init__(
        self, topics: Iterable[str], *, clock: Clock = SYSTEM_CLOCK, store: InMemoryQueueStore | None = None
    ) -> None:
        InMemoryBrokerSubscriberQueue.__init__(self, topics, "faulty", clock=clock, store=store)
        self.break_down()


class KeepingPublisher(BrokerPublisher):
    """Keeps what it was given; raises `failures` first, and waits for `gate`."""

    def __init__(self, transport: BrokerTransport | None = None) -> None:
        super().__init__()
        self.messages: list[BrokerMessage] = []
        self.begun: list[BrokerMessage] = []
        self.failures: list[BaseException] = []
        self.setup_failures: list[BaseException] = []
        self.refused: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.lives: list[str] = []
        self._transport = transport

    @property
    def transport(self) -> BrokerTransport | None:
        return self._transport

    @property
    def contents(self) -> list[Any]:
        return [message.content for message in self.messages]

    async def _setup(self) -> None:
        self.lives.append("setup")
        if self.setup_failures:
            raise self.setup_failures.pop(0)

    async def _destroy(self) -> None:
        self.lives.append("destroy")

    async def _send(self, message: BrokerMessage) -> None:
        self.begun.append(message)
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        if message.topic in self.refused:
            raise AWAY
        self.messages.append(message)
