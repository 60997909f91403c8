"""The handler loop's slots: how many run, in which order, with which context, and how they stop."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import Any
from uuid import UUID, uuid4

import pytest

from callboard import (
    REQUEST_HEADERS_CONTEXT_VAR,
    REQUEST_REPLY_TOPIC_CONTEXT_VAR,
    REQUEST_USER_CONTEXT_VAR,
    BrokerRequest,
    command,
    event,
)
from callboard.brokers import wire
from callboard.errors import InvalidArgumentError
from callboard.routing.current import CURRENT
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.handler import BrokerHandler
from tests.unit.routing.bench import INBOX, Bench, durable_of
from tests.unit.routing.loopback import LoopbackTransport

NOTE: ContextVar[str] = ContextVar("note", default="nothing")


class Gate:
    """Where handlers wait until the test opens."""

    def __init__(self) -> None:
        self.inside: list[Any] = []
        self.most = 0
        self.opened = asyncio.Event()
        self._entered = asyncio.Condition()

    async def __call__(self, who: Any) -> None:
        self.inside.append(who)
        self.most = max(self.most, len(self.inside))
        async with self._entered:
            self._entered.notify_all()
        try:
            await self.opened.wait()
        finally:
            self.inside.remove(who)

    async def holds(self, *who: Any) -> None:
        async with self._entered:
            await self._entered.wait_for(lambda: self.inside == list(who))


async def test_at_most_concurrency_messages_run_at_once_and_all_finish(transport: LoopbackTransport) -> None:
    """C38."""
    gate = Gate()

    @command("orders.place")
    async def handle(content: int) -> None:
        await gate(content)

    async with Bench(transport, handle, concurrency=3):
        entries = [transport.put("orders.place", number) for number in range(10)]
        await gate.holds(0, 1, 2)
        gate.opened.set()
        assert {await entry.ended() for entry in entries} == {"ack"}

    assert gate.most == 3


async def test_handlers_share_the_slots_of_their_actor(transport: LoopbackTransport) -> None:
    gate = Gate()

    @command("orders.place")
    async def place() -> None:
        await gate("place")

    @event("orders.placed")
    async def placed() -> None:
        await gate("placed")

    async with Bench(transport, place, placed, concurrency=1):
        entries = [transport.put("orders.place"), transport.put("orders.placed")]
        await gate.holds("place")
        gate.opened.set()
        for entry in entries:
            await entry.ended()

    assert gate.most == 1


async def test_handler_can_narrow_its_actors_concurrency(transport: LoopbackTransport) -> None:
    gate = Gate()

    @command("orders.place", concurrency=1)
    async def place(content: int) -> None:
        await gate(f"place {content}")

    @event("orders.placed")
    async def placed(content: int) -> None:
        await gate(f"placed {content}")

    async with Bench(transport, place, placed, concurrency=3):
        for topic in ("orders.place", "orders.placed"):
            for number in (1, 2):
                transport.put(topic, number)
        await gate.holds("place 1", "placed 1", "placed 2")


async def test_first_attempts_begin_in_stream_order(transport: LoopbackTransport) -> None:
    began: list[int] = []

    @command("orders.place")
    async def handle(content: int) -> None:
        began.append(content)

    async with Bench(transport, handle):
        entries = [transport.put("orders.place", number) for number in range(50)]
        await entries[-1].ended()

    assert began == list(range(50))


async def test_context_variables_hold_what_came_with_the_message(transport: LoopbackTransport) -> None:
    """C34."""
    user = uuid4()
    seen: list[Any] = []

    @command("orders.place")
    async def handle(request: BrokerRequest) -> None:
        seen.extend([request.user, REQUEST_USER_CONTEXT_VAR.get()])
        seen.extend([REQUEST_HEADERS_CONTEXT_VAR.get(), REQUEST_REPLY_TOPIC_CONTEXT_VAR.get()])

    async with Bench(transport, handle):
        await transport.put("orders.place", headers={"user": str(user)}, reply_topic=INBOX).ended()

    assert seen == [user, user, {"user": str(user)}, INBOX]


@pytest.mark.parametrize("headers", [{}, {"user": "nobody"}])
async def test_user_is_none_without_a_uuid(transport: LoopbackTransport, headers: dict[str, str]) -> None:
    """C34."""
    seen: list[UUID | None] = []

    @command("orders.place")
    async def handle(request: BrokerRequest) -> None:
        seen.extend([request.user, REQUEST_USER_CONTEXT_VAR.get()])

    async with Bench(transport, handle):
        await transport.put("orders.place", headers=headers).ended()

    assert seen == [None, None]


async def test_headers_that_the_handler_adds_go_on_the_reply(transport: LoopbackTransport) -> None:
    """C35."""

    @command("orders.place")
    async def handle() -> None:
        headers = REQUEST_HEADERS_CONTEXT_VAR.get()
        assert headers is not None
        headers["added"] = "b"

    async with Bench(transport, handle):
        await transport.put("orders.place", headers={"tenant": "a"}, reply_topic=INBOX).ended()

    assert wire.own_headers(transport.replies[0].headers) == {"tenant": "a", "added": "b"}


async def test_plain_handlers_context_variables_are_carried_back(transport: LoopbackTransport) -> None:
    @command("orders.place")
    def handle() -> None:
        REQUEST_HEADERS_CONTEXT_VAR.set({"added": "b"})

    async with Bench(transport, handle):
        await transport.put("orders.place", headers={"tenant": "a"}, reply_topic=INBOX).ended()

    assert wire.own_headers(transport.replies[0].headers) == {"added": "b"}


@pytest.mark.parametrize("fails", [False, True])
async def test_nothing_that_a_handler_sets_is_seen_by_the_next(transport: LoopbackTransport, *, fails: bool) -> None:
    """S11."""
    seen: list[Any] = []

    @command("orders.place", retry=())
    async def handle() -> None:
        seen.append((NOTE.get(), REQUEST_HEADERS_CONTEXT_VAR.get(), REQUEST_USER_CONTEXT_VAR.get()))
        NOTE.set("left behind")
        REQUEST_HEADERS_CONTEXT_VAR.set({"left": "behind"})
        REQUEST_USER_CONTEXT_VAR.set(uuid4())
        if fails:
            raise ValueError

    async with Bench(transport, handle):
        for _ in range(2):
            await transport.put("orders.place").ended()

    assert seen == [("nothing", {}, None)] * 2


async def test_nothing_of_the_starter_is_seen_by_handlers(transport: LoopbackTransport) -> None:
    seen: list[str] = []

    @command("orders.place")
    async def handle() -> None:
        seen.append(NOTE.get())

    token = NOTE.set("of the starter")
    async with Bench(transport, handle):
        await transport.put("orders.place").ended()
    NOTE.reset(token)

    assert seen == ["nothing"]


async def test_current_delivery_ends_with_its_message(transport: LoopbackTransport) -> None:
    """Callbacks that outlive a message must not count as its outputs."""
    current: list[Any] = []

    async def on_failure(*_: Any) -> None:
        current.append(CURRENT.get())

    @command("orders.place", retry=())
    async def handle() -> None:
        current.append(CURRENT.get())
        raise ValueError

    async with Bench(transport, handle, on_failure=on_failure):
        await transport.put("orders.place").ended()

    assert current[0].delivery.durable == durable_of(handle)
    assert current[1] is None


async def test_others_progress_while_a_plain_handler_blocks(transport: LoopbackTransport) -> None:
    """S15."""
    release = threading.Event()

    @command("orders.block")
    def block() -> None:
        release.wait()

    @command("orders.go")
    async def go() -> None:
        return None

    async with Bench(transport, block, go, concurrency=2):
        blocked = transport.put("orders.block")
        assert await transport.put("orders.go").ended() == "ack"
        assert not blocked.end
        release.set()
        assert await blocked.ended() == "ack"


async def test_plain_handlers_fill_all_slots_at_once(transport: LoopbackTransport) -> None:
    both = threading.Barrier(2)

    @command("orders.place")
    def handle() -> None:
        both.wait(30)

    async with Bench(transport, handle, concurrency=2):
        entries = [transport.put("orders.place") for _ in range(2)]
        assert [await entry.ended() for entry in entries] == ["ack", "ack"]


async def test_leases_of_running_and_waiting_deliveries_are_renewed_at_a_third(transport: LoopbackTransport) -> None:
    gate = Gate()

    @command("orders.place", ack_wait=30)
    async def handle(content: int) -> None:
        if content:
            await gate(content)

    async with Bench(transport, handle):
        await transport.put("orders.place", 0).ended()  # a fast one opens the prefetch window
        transport.put("orders.place", 1)
        transport.put("orders.place", 2)
        await gate.holds(1)
        now = asyncio.get_running_loop().time()
        await transport.tick(now + 9)
        assert transport.journal == ["ack 1"]
        await transport.tick(now + 10.5)

    assert transport.journal[1:3] == ["in-progress 2", "in-progress 3"]


@pytest.mark.parametrize("concurrency", [0, -1])
def test_handler_without_a_slot_is_refused(transport: LoopbackTransport, concurrency: int) -> None:
    with pytest.raises(InvalidArgumentError, match=f"1 or more; not {concurrency}"):
        BrokerHandler(BrokerDispatcher({}), transport.subscriber([]), concurrency)
