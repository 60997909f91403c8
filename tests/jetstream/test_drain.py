"""A drain strands nothing, however many messages are on their way to the mailbox at that moment."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from itertools import count

import nats
import pytest
from nats.js import JetStreamContext

from callboard.brokers.intake import Lane
from callboard.brokers.mailbox import MailboxSpec, group_mailboxes
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.transport import Topology
from callboard.embedded import EmbeddedServer
from callboard.jetstream import JetStreamTransport
from tests.jetstream.eventually import eventually

DRAINS = 60
BURST = 10
AT_ONCE = 5.0
"""Seconds: little beside a lease, which is 30."""


class Flood:
    """Publishes without acknowledgement from a thread and a connection of its own, as fast as it can, while it runs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._on = threading.Event()
        self._over = threading.Event()
        self._still = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._publish()))

    @contextmanager
    def ready(self) -> Generator[None]:
        """Its connection exists inside the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._on.set()
            self._thread.join()

    def begin(self) -> None:
        self._still.clear()
        self._on.set()

    async def end(self) -> None:
        """Returns when the server has everything that was published."""
        self._on.clear()
        await asyncio.to_thread(self._still.wait)

    async def _publish(self) -> None:
        async with await nats.connect(self._url) as client:
            for number in count():
                if not self._on.is_set():
                    self._still.set()
                    self._on.wait()
                if self._over.is_set():
                    return
                for _ in range(BURST):
                    await client.publish("orders.placed", b"%d" % number)
                await client.flush()


async def opened(transport: JetStreamTransport, spec: MailboxSpec) -> tuple[BrokerSubscriber, Lane]:
    """A subscriber with room for everything. Nobody takes its messages: they wait."""
    subscriber = transport.subscriber([spec])
    subscriber.intake.concurrency = 50_000
    await subscriber.setup()
    (lane,) = subscriber.intake.lanes
    return subscriber, lane


@pytest.mark.timeout(120)
async def test_whatever_arrives_during_a_drain_reaches_somebody_else_at_once(
    nats_server: EmbeddedServer, transport: JetStreamTransport, js: JetStreamContext
) -> None:
    """Messages are on their way to the mailbox while it says that it wants no more: those go back, too."""
    (spec,) = group_mailboxes(["orders.placed"], "shop")
    await transport.prepare(Topology([spec], []))
    flood = Flood(nats_server.url)

    async def unsettled() -> int:
        """Messages that are somewhere between the stream and an acknowledgement."""
        found = await js.consumer_info("ORDERS", spec.durable)
        return (found.num_pending or 0) + (found.num_ack_pending or 0)

    async def nothing_is_left(taken: Lane) -> bool:
        while taken.waiting:
            await taken.waiting.popleft().ack()
        return not await unsettled()

    with flood.ready():
        for number in range(DRAINS):
            drained, waiting = await opened(transport, spec)
            flood.begin()
            await eventually(partial(holds_more_than, number, waiting))
            await drained.destroy()
            await flood.end()
            assert not waiting.waiting

            taker, taken = await opened(transport, spec)
            try:
                await eventually(partial(nothing_is_left, taken), within=AT_ONCE)
            except TimeoutError:
                pytest.fail(f"drain {number}: {await unsettled()} messages come back only when their lease has run out")
            await taker.destroy()


def holds_more_than(count: int, lane: Lane) -> bool:
    return len(lane.waiting) > count
