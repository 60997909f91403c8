"""The handler loop when it is not the message's fault: outages, hung handlers, workers that died."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from callboard import command
from callboard.brokers import wire
from callboard.brokers.attempts import CONVICTED, SUSPECT, Past
from callboard.errors import ActorCrash, BrokerResponseException
from tests.jetstream.eventually import eventually
from tests.unit.routing.bench import INBOX, Bench, error_of
from tests.unit.routing.loopback import LoopbackTransport


class DatabaseDown(Exception):
    """What a handler needs is away."""


async def test_outage_pauses_the_mailbox_and_costs_neither_attempts_nor_messages(transport: LoopbackTransport) -> None:
    away = True
    runs: Counter[int] = Counter()

    @command("orders.place", retry=(0, 0))
    async def handle(number: int) -> None:
        runs[number] += 1
        if away:
            raise DatabaseDown

    async with Bench(transport, handle, concurrency=4) as bench:
        entries = [transport.put("orders.place", number) for number in range(60)]
        (lane,) = bench.subscriber.intake.lanes
        await eventually(lambda: lane.is_paused and not lane.running)
        assert transport.letters == []

        for _ in range(5):  # the pauses end, and one message each time finds that the outage goes on
            before = sum(runs.values())
            transport.pass_time()
            await eventually(lambda before=before: sum(runs.values()) > before and lane.is_paused)  # type: ignore[misc]
            assert sum(runs.values()) == before + 1
        away = False

        def handled() -> bool:
            transport.pass_time()
            return all(entry.end for entry in entries)

        await eventually(handled)

    assert {entry.end for entry in entries} == {"ack"}
    assert transport.letters == []


async def test_failures_that_a_rule_retries_pause_nothing_however_many(transport: LoopbackTransport) -> None:
    runs: Counter[int] = Counter()

    @command("orders.place", retry=(0,), failures={DatabaseDown: "retry"})
    async def handle(number: int) -> None:
        runs[number] += 1
        raise DatabaseDown

    async with Bench(transport, handle, concurrency=4) as bench:
        entries = [transport.put("orders.place", number) for number in range(60)]
        (lane,) = bench.subscriber.intake.lanes
        await asyncio.gather(*(entry.ended() for entry in entries))
        assert lane.is_open

    assert set(runs.values()) == {2}
    assert len(transport.letters) == 60


async def test_failure_rule_pause_pauses_at_once_and_costs_no_attempt(transport: LoopbackTransport) -> None:
    away = True

    @command("orders.place", retry=(), failures={DatabaseDown: "pause"})
    async def handle() -> None:
        if away:
            raise DatabaseDown

    async with Bench(transport, handle) as bench:
        entry = transport.put("orders.place")
        (lane,) = bench.subscriber.intake.lanes
        await eventually(lambda: lane.is_paused)
        away = False
        transport.pass_time()
        assert await entry.ended() == "ack"
        assert lane.is_open

    assert not any(line.startswith("attempts") for line in transport.journal)


async def test_caller_that_would_not_live_to_see_the_next_try_hears_of_the_outage(
    transport: LoopbackTransport,
) -> None:
    @command("orders.place", failures={DatabaseDown: "pause"})
    async def handle() -> None:
        raise DatabaseDown

    soon = {wire.DEADLINE: wire.format_time(transport.clock.now())}
    async with Bench(transport, handle):
        await transport.put("orders.place", reply_topic=INBOX, system=soon).ended()

    assert error_of(transport.replies[0])["status"] in {500, 504}


async def test_refusals_and_unreadable_messages_pause_nothing(transport: LoopbackTransport) -> None:
    @command("orders.place")
    async def handle(number: int) -> None:
        raise BrokerResponseException("no", status=409)

    async with Bench(transport, handle) as bench:
        for number in range(30):
            await transport.put("orders.place", number if number % 2 else "text").ended()
        (lane,) = bench.subscriber.intake.lanes
        assert lane.is_open


async def test_hung_handler_fails_by_its_policy_and_crashes_its_actor(transport: LoopbackTransport) -> None:
    entered = asyncio.Event()
    end = asyncio.Event()

    @command("orders.place", timeout=10, hard_timeout=20, retry=())
    async def handle() -> None:
        entered.set()
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue

    async with Bench(transport, handle) as bench:
        entry = transport.put("orders.place", reply_topic=INBOX)
        await entered.wait()
        now = asyncio.get_running_loop().time()
        await transport.tick(now + 11)
        assert entry.end == ""
        await transport.tick(now + 21)
        assert await entry.ended() == "term"
        with pytest.raises(ActorCrash, match="20 s"):
            await bench.handler.wait()
        end.set()

    assert error_of(transport.replies[0])["type"] == "HandlerTimeoutError"


async def test_convicted_message_is_dead_lettered_without_a_run(transport: LoopbackTransport) -> None:
    runs: list[int] = []

    @command("orders.place")
    async def handle() -> None:
        runs.append(1)

    async with Bench(transport, handle):
        transport.remember(1, Past(deaths=CONVICTED))
        assert await transport.put_frame(wire.Frame("orders.place", {}, b"1"), delivered=3).ended() == "term"

    assert runs == []
    assert [letter.error_type for letter in transport.letters] == ["worker_died"]


async def test_suspect_runs_alone(transport: LoopbackTransport) -> None:
    running: set[int] = set()
    together: list[set[int]] = []
    go_on = asyncio.Event()

    @command("orders.place")
    async def handle(number: int) -> None:
        running.add(number)
        together.append(set(running))
        if number:
            await go_on.wait()
        running.discard(number)

    async with Bench(transport, handle, concurrency=4):
        transport.remember(3, Past(deaths=SUSPECT))
        entries = [transport.put("orders.place", number) for number in (1, 2)]
        await eventually(lambda: running == {1, 2})
        suspect = transport.put_frame(wire.Frame("orders.place", {}, b"0"), delivered=2)
        later = transport.put("orders.place", 4)
        await asyncio.sleep(0)
        assert (suspect.end, later.end) == ("", "")
        go_on.set()
        for entry in (*entries, suspect, later):
            assert await entry.ended() == "ack"

    assert {0} in together


async def test_suspect_that_waits_for_others_is_handed_back_when_the_mailbox_drains(
    transport: LoopbackTransport,
) -> None:
    running: list[int] = []
    go_on = asyncio.Event()

    @command("orders.place")
    async def handle(number: int) -> None:
        running.append(number)
        await go_on.wait()

    async with Bench(transport, handle, concurrency=4) as bench:
        transport.remember(2, Past(deaths=SUSPECT))
        transport.put("orders.place", 1)
        await eventually(lambda: running == [1])
        transport.put_frame(wire.Frame("orders.place", {}, b"2"), delivered=2)
        (lane,) = bench.subscriber.intake.lanes
        await eventually(lambda: lane.running == 2)
        await bench.handler.drain()
        await transport.noted("nak 2")
        go_on.set()

    assert running == [1]


async def test_failure_after_the_lease_ran_out_is_left_to_the_next_delivery(transport: LoopbackTransport) -> None:
    entered = asyncio.Event()
    go_on = asyncio.Event()

    @command("orders.place", retry=())
    async def handle() -> None:
        entered.set()
        await go_on.wait()
        raise ValueError

    async with Bench(transport, handle) as bench:
        transport.put("orders.place")
        await entered.wait()
        (lane,) = bench.subscriber.intake.lanes
        lane.lease = 0.0
        go_on.set()
        await eventually(lambda: lane.running == 0)

    assert transport.journal == ["attempts 1 = 1"]  # no nak, no letter
