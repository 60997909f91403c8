"""Stopping the handler loop: what runs may finish, what waits goes back."""

from __future__ import annotations

import asyncio

from callboard import command
from tests.unit.routing.bench import INBOX, Bench
from tests.unit.routing.loopback import LoopbackTransport


class Patient:
    """A handler that waits until it may go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.may_end = asyncio.Event()
        self.attempts = 0

        @command("orders.place", retry=())
        async def handle(content: int) -> int:
            if content == 0:
                return 0
            self.attempts += 1
            self.entered.set()
            await self.may_end.wait()
            return content

        self.handle = handle


async def test_running_handler_is_waited_for_and_its_reply_sent(transport: LoopbackTransport) -> None:
    """C40."""
    patient = Patient()
    async with Bench(transport, patient.handle) as bench:
        entry = transport.put("orders.place", 1, reply_topic=INBOX)
        await patient.entered.wait()
        stopping = asyncio.ensure_future(bench.handler.stop(30))
        asyncio.get_running_loop().call_soon(patient.may_end.set)
        await stopping

    assert entry.end == "ack"
    assert transport.journal == [f"send {INBOX}", "ack 1"]


async def test_drain_hands_back_what_waits_and_lets_run_what_runs(transport: LoopbackTransport) -> None:
    patient = Patient()
    async with Bench(transport, patient.handle) as bench:
        await transport.put("orders.place", 0).ended()  # a fast one opens the prefetch window
        running, waiting = transport.put("orders.place", 1), transport.put("orders.place", 2)
        await patient.entered.wait()
        await bench.handler.drain()
        assert transport.journal == ["ack 1", "nak 3"]
        patient.may_end.set()
        assert await running.ended() == "ack"

    assert (waiting.end, patient.attempts) == ("", 1)


async def test_nothing_begins_after_drain(transport: LoopbackTransport) -> None:
    patient = Patient()
    async with Bench(transport, patient.handle) as bench:
        await bench.handler.drain()
        transport.put("orders.place", 1)

    assert (transport.waiting, patient.attempts) == ([1], 0)


async def test_hung_handler_is_cancelled_after_the_grace_and_its_message_comes_again(
    transport: LoopbackTransport,
) -> None:
    """S07: handing back is no attempt."""
    patient = Patient()
    async with Bench(transport, patient.handle) as bench:
        entry = transport.put("orders.place", 1)
        await patient.entered.wait()
        begun = asyncio.get_running_loop().time()
        await bench.handler.stop(0.05)
        assert asyncio.get_running_loop().time() - begun < 1.0

    assert transport.journal == ["nak 1"]
    patient.may_end.set()
    async with Bench(transport, patient.handle):
        assert await entry.ended() == "ack"

    assert patient.attempts == 2


async def test_handler_that_ignores_its_cancellation_does_not_hold_up_the_stop(transport: LoopbackTransport) -> None:
    """S07."""
    entered, may_end = asyncio.Event(), asyncio.Event()

    @command("orders.place")
    async def handle() -> None:
        entered.set()
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    async with Bench(transport, handle) as bench:
        transport.put("orders.place")
        await entered.wait()
        async with asyncio.timeout(10):
            await bench.handler.stop(0.0)
    assert transport.journal == []
    may_end.set()
    await transport.until(lambda: bool(transport.journal))


async def test_second_stop_changes_nothing(transport: LoopbackTransport) -> None:
    patient = Patient()
    patient.may_end.set()
    async with Bench(transport, patient.handle) as bench:
        await transport.put("orders.place", 1).ended()
        await bench.handler.stop(0.0)
        await bench.handler.stop(0.0)

    assert transport.journal == ["ack 1"]


async def test_second_stop_shortens_the_grace_of_the_first(transport: LoopbackTransport) -> None:
    patient = Patient()
    async with Bench(transport, patient.handle) as bench:
        transport.put("orders.place", 1)
        await patient.entered.wait()
        first = asyncio.ensure_future(bench.handler.stop(3600))
        await bench.handler.stop(0.0)
        await first

    assert transport.journal == ["nak 1"]


async def test_wait_goes_on_while_the_handler_lives_and_may_be_cancelled(transport: LoopbackTransport) -> None:
    patient = Patient()
    patient.may_end.set()
    async with Bench(transport, patient.handle) as bench:
        waiting = asyncio.ensure_future(bench.handler.wait())
        assert await transport.put("orders.place", 1).ended() == "ack"
        assert not waiting.done()
        waiting.cancel()
        assert await transport.put("orders.place", 1).ended() == "ack"
