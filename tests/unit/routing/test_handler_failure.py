"""The handler loop when something fails: attempts, dead letters, outages, crashes, interruptions."""

from __future__ import annotations

import asyncio
import logging

import pytest

from callboard import ActorCrash, BrokerMessage, BrokerResponseException, command
from callboard.brokers import wire
from callboard.client import Board
from callboard.errors import ConnectionLostError
from tests.jetstream.eventually import eventually
from tests.unit.routing.bench import INBOX, Bench
from tests.unit.routing.loopback import LoopbackTransport


class Unusual(BaseException):
    """What frameworks derive from BaseException so that nobody catches it."""


async def test_failing_message_is_tried_as_often_as_declared_and_then_dead_lettered(
    transport: LoopbackTransport,
) -> None:
    """S14."""

    @command("orders.place", retry=(0, 0))
    async def handle() -> None:
        raise ValueError("no such carrier")

    async with Bench(transport, handle):
        entry = transport.put("orders.place", reply_topic=INBOX)
        await entry.ended()

    assert transport.journal == [
        "attempts 1 = 1",
        "nak 1",
        "attempts 1 = 2",
        "nak 1",
        "dead letter 1",
        f"send {INBOX}",
        "term 1",
    ]
    assert entry.delivered == 3


async def test_dead_letter_says_what_failed_and_how_often(transport: LoopbackTransport) -> None:
    @command("orders.place", retry=(0,))
    async def handle() -> None:
        raise ValueError("no such carrier")

    async with Bench(transport, handle):
        await transport.put("orders.place").ended()

    [letter] = transport.letters
    assert (letter.error_type, letter.error_message, letter.attempts) == ("ValueError", "no such carrier", 2)
    assert "raise ValueError" in letter.traceback


async def test_handler_that_fails_after_its_lease_each_time_does_not_run_for_ever(transport: LoopbackTransport) -> None:
    runs = 0

    @command("orders.place", retry=(0,))
    async def handle() -> None:
        nonlocal runs
        runs += 1
        lane.lease = -1.0  # as if it had blocked the event loop for longer than `ack_wait`
        raise ValueError("too late")

    async with Bench(transport, handle) as bench:
        (lane,) = bench.subscriber.intake.lanes
        entry = transport.put("orders.place")
        for attempt in (1, 2):
            await transport.noted(f"attempts 1 = {attempt}")
            await eventually(lambda: not lane.running)
            lane.lease = 30.0
            transport.redeliver(entry)
        assert await entry.ended() == "term"

    assert runs == 2
    [letter] = transport.letters
    assert letter.error_type == "AttemptsExhaustedError"


async def test_retry_waits_for_its_delay(transport: LoopbackTransport) -> None:
    attempts: list[int] = []

    @command("orders.place", retry=(60,))
    async def handle() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError

    async with Bench(transport, handle):
        entry = transport.put("orders.place")
        await transport.until(lambda: any(line.startswith("nak after") for line in transport.journal))
        seconds = float(transport.journal[-1].split()[2])
        transport.pass_time()
        assert await entry.ended() == "ack"

    assert 60 <= seconds <= 75


async def test_delivery_that_was_handed_back_before_is_no_attempt(transport: LoopbackTransport) -> None:
    """The server counts deliveries, we count attempts."""

    @command("orders.place", retry=())
    async def handle() -> None:
        raise ValueError

    async with Bench(transport, handle):
        await transport.put_frame(wire.Frame("orders.place", {}, b"1"), delivered=7).ended()

    assert [letter.attempts for letter in transport.letters] == [1]


async def test_later_messages_are_handled_when_one_fails(transport: LoopbackTransport) -> None:
    """C39."""

    @command("orders.place", retry=())
    async def handle(content: int) -> None:
        if content == 1:
            raise ValueError

    async with Bench(transport, handle):
        ends = [await transport.put("orders.place", number).ended() for number in (1, 2)]

    assert ends == ["term", "ack"]


@pytest.mark.parametrize("error", [asyncio.CancelledError, Unusual])
async def test_slot_survives_whatever_a_handler_raises(
    transport: LoopbackTransport, error: type[BaseException]
) -> None:
    """S06: ten times, then both slots are still there."""
    both = asyncio.Barrier(2)

    @command("orders.place", retry=())
    async def handle(content: str) -> None:
        if content == "fail":
            raise error
        await both.wait()

    async with Bench(transport, handle, concurrency=2):
        for _ in range(10):
            assert await transport.put("orders.place", "fail").ended() == "term"
        entries = [transport.put("orders.place", "meet") for _ in range(2)]
        assert [await entry.ended() for entry in entries] == ["ack", "ack"]


async def test_slot_survives_what_on_failure_raises(transport: LoopbackTransport) -> None:
    async def on_failure(_error: BaseException, _message: BrokerMessage) -> None:
        raise asyncio.CancelledError

    @command("orders.place", retry=())
    async def handle(content: str) -> None:
        if content == "fail":
            raise ValueError

    async with Bench(transport, handle, on_failure=on_failure):
        assert await transport.put("orders.place", "fail").ended() == "term"
        assert await transport.put("orders.place", "good").ended() == "ack"


async def test_on_failure_is_told_of_each_failed_attempt_but_of_no_refusal(transport: LoopbackTransport) -> None:
    told: list[str] = []

    def on_failure(error: BaseException, message: BrokerMessage) -> None:
        told.append(f"{type(error).__name__} {message.content}")

    @command("orders.place", retry=(0,))
    async def handle(content: str) -> None:
        raise BrokerResponseException if content == "refuse" else ValueError

    async with Bench(transport, handle, on_failure=on_failure):
        for content in ("refuse", "fail"):
            await transport.put("orders.place", content).ended()

    assert told == ["ValueError fail", "ValueError fail"]


async def test_message_whose_dead_letter_cannot_be_stored_stays_in_its_mailbox(transport: LoopbackTransport) -> None:
    @command("orders.place", retry=())
    async def handle() -> None:
        raise ValueError

    transport.away = True
    async with Bench(transport, handle):
        entry = transport.put("orders.place", reply_topic=INBOX)
        await transport.noted("nak after 10 1")
        assert (transport.journal, entry.end) == (["nak after 10 1"], "")
        transport.away = False
        transport.pass_time()
        await entry.ended()

    assert transport.journal[1:] == ["dead letter 1", f"send {INBOX}", "term 1"]


async def test_discard_policy_answers_and_gives_up_without_a_dead_letter(transport: LoopbackTransport) -> None:
    @command("orders.place", failures={LookupError: "discard"})
    async def handle() -> None:
        raise KeyError

    async with Bench(transport, handle):
        await transport.put("orders.place", reply_topic=INBOX).ended()

    assert transport.journal == [f"send {INBOX}", "term 1"]


async def test_actor_crash_hands_the_message_back_and_is_told_to_the_supervisor(transport: LoopbackTransport) -> None:
    @command("orders.place")
    async def handle() -> None:
        raise ActorCrash("desk is on fire")

    async with Bench(transport, handle) as bench:
        entry = transport.put("orders.place", reply_topic=INBOX)
        with pytest.raises(ActorCrash, match="desk is on fire"):
            await bench.handler.wait()

        assert (transport.journal, entry.end) == (["nak 1"], "")


async def test_lost_server_inside_a_handler_costs_no_attempt(transport: LoopbackTransport) -> None:
    board = Board(transport)

    @command("orders.place", retry=())
    async def handle() -> None:
        await board.publish("orders.placed")

    transport.away = True
    async with Bench(transport, handle):
        entry = transport.put("orders.place")
        await transport.noted("nak after 2 1")
        transport.away = False
        transport.pass_time()
        assert await entry.ended() == "ack"

    assert transport.journal == ["nak after 2 1", "publish orders.placed", "ack 1"]


async def test_lost_server_is_no_crash(transport: LoopbackTransport) -> None:
    @command("orders.place")
    async def handle() -> None:
        raise ConnectionLostError("nats://127.0.0.1:4222", "gone")

    async with Bench(transport, handle) as bench:
        waiting = asyncio.ensure_future(bench.handler.wait())
        transport.put("orders.place")
        await transport.noted("nak after 2 1")
        assert not waiting.done()
        waiting.cancel()


async def test_only_the_last_attempt_logs_its_traceback(
    transport: LoopbackTransport, caplog: pytest.LogCaptureFixture
) -> None:
    @command("orders.place", retry=(0,))
    async def handle() -> None:
        raise ValueError

    with caplog.at_level(logging.WARNING, "callboard.handler"):
        async with Bench(transport, handle):
            await transport.put("orders.place").ended()

    assert [bool(record.exc_info) for record in caplog.records] == [False, True]
