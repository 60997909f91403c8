"""The handler loop and time: handlers that run too long, callers that wait no longer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from callboard import command, query
from callboard.brokers import wire
from tests.unit.routing.bench import INBOX, Bench, error_of
from tests.unit.routing.loopback import LoopbackTransport


def when(seconds: float) -> dict[str, str]:
    """The header of a request whose caller waits for so long from now."""
    return {wire.DEADLINE: wire.format_time(datetime.now(UTC) + timedelta(seconds=seconds))}


async def test_expired_query_is_answered_504_and_acked_unrun(transport: LoopbackTransport) -> None:
    ran: list[int] = []

    @query("orders.count")
    async def handle() -> None:
        ran.append(1)

    async with Bench(transport, handle):
        await transport.put("orders.count", reply_topic=INBOX, system=when(-60)).ended()

    assert error_of(transport.replies[0])["status"] == 504
    assert (transport.journal, ran) == ([f"send {INBOX}", "ack 1"], [])


async def test_expired_command_is_answered_504_and_dead_lettered(transport: LoopbackTransport) -> None:
    @command("orders.place")
    async def handle() -> None: ...

    async with Bench(transport, handle):
        await transport.put("orders.place", reply_topic=INBOX, system=when(-60)).ended()

    assert error_of(transport.replies[0])["status"] == 504
    assert transport.journal == ["dead letter 1", f"send {INBOX}", "term 1"]


async def test_handler_past_its_timeout_is_cancelled_and_fails(transport: LoopbackTransport) -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    @command("orders.place", timeout=30, retry=())
    async def handle() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with Bench(transport, handle):
        entry = transport.put("orders.place", reply_topic=INBOX)
        await entered.wait()
        now = asyncio.get_running_loop().time()
        await transport.tick(now + 29)
        assert not ended.is_set()
        await transport.tick(now + 31)
        await entry.ended()

    assert ended.is_set()
    assert error_of(transport.replies[0])["type"] == "HandlerTimeoutError"


async def test_handler_that_ends_well_after_its_timeout_is_acked(transport: LoopbackTransport) -> None:
    entered = asyncio.Event()

    @command("orders.place", timeout=30)
    async def handle() -> None:
        try:
            entered.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async with Bench(transport, handle):
        entry = transport.put("orders.place")
        await entered.wait()
        await transport.tick(asyncio.get_running_loop().time() + 31)
        assert await entry.ended() == "ack"


@pytest.mark.parametrize("swallow", [True, False])
async def test_timeout_leaves_no_trace_in_the_slot(transport: LoopbackTransport, *, swallow: bool) -> None:
    """A cancellation that still counted would break task groups and timeouts of later messages."""
    entered = asyncio.Event()
    counts: list[int] = []

    @command("orders.place", timeout=30, retry=())
    async def handle(content: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        counts.append(task.cancelling())
        if content == "hang":
            try:
                entered.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not swallow:
                    raise ValueError from None

    async with Bench(transport, handle):
        entry = transport.put("orders.place", "hang")
        await entered.wait()
        await transport.tick(asyncio.get_running_loop().time() + 31)
        await entry.ended()
        await transport.put("orders.place", "next").ended()

    assert counts == [0, 0]


async def test_retry_after_the_callers_deadline_is_not_made(transport: LoopbackTransport) -> None:
    @command("orders.place", retry=(3600,))
    async def handle() -> None:
        raise ValueError

    deadline = wire.format_time(datetime.now(UTC) + timedelta(seconds=600))
    async with Bench(transport, handle):
        await transport.put("orders.place", reply_topic=INBOX, system={wire.DEADLINE: deadline}).ended()

    assert transport.journal == ["dead letter 1", f"send {INBOX}", "term 1"]
