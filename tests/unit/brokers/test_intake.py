"""Between mailboxes and slots."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import MAX_BYTES, MAX_MESSAGES, Intake, Lane, Window
from callboard.brokers.status import Flow
from callboard.errors import ClosedError


class Delivered(BrokerDelivery):
    """A delivery that nobody settles."""

    async def ack(self) -> None: ...
    async def nak(self, delay: float = 0.0) -> None: ...
    async def term(self, reason: str) -> None: ...
    async def in_progress(self) -> None: ...


def deliver(lane: Lane, *topics: str) -> None:
    for topic in topics:
        lane.offer(Delivered(topic, None, b"", stream="S", sequence=1, delivered=1, durable="d", touched=0.0))


def idle() -> None: ...


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def taken(intake: Intake, count: int) -> list[str]:
    return [(await intake.take())[1].topic for _ in range(count)]


async def test_one_mailbox_is_handed_out_in_the_order_of_arrival() -> None:
    intake = Intake(10)
    deliver(intake.lane(None, idle), "1", "2", "3")

    assert await taken(intake, 3) == ["1", "2", "3"]


async def test_mailboxes_take_turns() -> None:
    intake = Intake(10)
    one, other = intake.lane(None, idle), intake.lane(None, idle)
    deliver(one, "1", "2", "3")
    deliver(other, "a", "b")

    assert await taken(intake, 5) == ["1", "a", "2", "b", "3"]


async def test_full_mailbox_does_not_starve_one_that_fills_later() -> None:
    intake = Intake(1)
    busy, quiet = intake.lane(None, idle), intake.lane(None, idle)
    deliver(busy, *"123")
    lane, _ = await intake.take()
    deliver(quiet, "a")
    intake.release(lane, 1.0, 0)

    assert await taken(intake, 1) == ["a"]


async def test_mailbox_at_its_limit_waits_while_others_are_served() -> None:
    intake = Intake(3)
    narrow, wide = intake.lane(1, idle), intake.lane(None, idle)
    deliver(narrow, "1", "2")
    deliver(wide, "a", "b")

    assert await taken(intake, 3) == ["1", "a", "b"]


async def test_mailbox_at_its_limit_goes_on_when_a_slot_is_released() -> None:
    intake = Intake(2)
    narrow = intake.lane(1, idle)
    deliver(narrow, "1", "2")
    lane, _ = await intake.take()
    waiting = asyncio.ensure_future(intake.take())
    await settle()
    assert not waiting.done()

    intake.release(lane, 1.0, 0)

    assert (await waiting)[1].topic == "2"


async def test_limit_is_never_above_the_intakes() -> None:
    assert Intake(2).lane(9, idle).limit == 2
    assert Intake(2).lane(None, idle).limit == 2


async def test_waiting_slot_is_woken_by_an_arrival() -> None:
    intake = Intake(1)
    lane = intake.lane(None, idle)
    waiting = asyncio.ensure_future(intake.take())
    await settle()

    deliver(lane, "1")

    assert (await waiting)[1].topic == "1"


async def test_cancelled_slot_that_was_just_woken_wakes_another() -> None:
    intake = Intake(2)
    lane = intake.lane(None, idle)
    first, second = (asyncio.ensure_future(intake.take()) for _ in range(2))
    await settle()

    deliver(lane, "1")
    first.cancel()

    assert (await second)[1].topic == "1"
    assert first.cancelled()


async def test_cancelled_slot_does_not_swallow_the_next_arrival() -> None:
    intake = Intake(2)
    lane = intake.lane(None, idle)
    first, second = (asyncio.ensure_future(intake.take()) for _ in range(2))
    await settle()
    first.cancel()
    await settle()

    deliver(lane, "1")

    assert (await second)[1].topic == "1"


@given(st.lists(st.sampled_from(["offer", "take", "cancel", "release", "step"]), max_size=40))
def test_no_wakeup_is_lost_whatever_happens(steps: list[str]) -> None:
    """With a free slot waiting, nothing stays in a mailbox that is below its limit."""

    async def play() -> None:
        intake = Intake(3)
        lanes = [intake.lane(1, idle), intake.lane(None, idle)]
        takers: list[asyncio.Task[tuple[Lane, BrokerDelivery]]] = []
        running: list[Lane] = []
        for number, step in enumerate(steps):
            if step == "offer":
                deliver(lanes[number % 2], str(number))
            elif step == "take" and len(takers) + len(running) < intake.concurrency:
                takers.append(asyncio.ensure_future(intake.take()))
            elif step == "cancel" and takers:
                takers[0].cancel()
            elif step == "release" and running:
                intake.release(running.pop(), 1.0, 0)
            else:
                await asyncio.sleep(0)
            running += [taker.result()[0] for taker in takers if taker.done() and not taker.cancelled()]
            takers = [taker for taker in takers if not taker.done()]
        await settle()
        left = [taker for taker in takers if not taker.done()]
        assert not left or not any(lane.waiting and lane.running < lane.limit for lane in lanes)
        for taker in left:
            taker.cancel()
        await asyncio.gather(*takers, return_exceptions=True)

    asyncio.run(play())


async def test_nothing_is_handed_out_after_close() -> None:
    intake = Intake(1)
    lane = intake.lane(None, idle)
    waiting = asyncio.ensure_future(intake.take())
    await settle()

    intake.close()
    deliver(lane, "1")
    await settle()

    with pytest.raises(ClosedError):
        await waiting
    with pytest.raises(ClosedError):
        await intake.take()
    assert len(lane.waiting) == 1


@pytest.mark.parametrize("lanes", [1, 3])
async def test_every_mailbox_hears_of_a_free_slot(lanes: int) -> None:
    intake = Intake(1)
    heard: list[int] = []

    def hear(number: int) -> Callable[[], None]:
        return lambda: heard.append(number)

    all_lanes = [intake.lane(None, hear(number)) for number in range(lanes)]
    deliver(all_lanes[0], "1")
    lane, _ = await intake.take()
    intake.release(lane, 1.0, 0)

    assert heard == list(range(lanes))


async def test_room_is_the_free_slots_less_what_waits() -> None:
    intake = Intake(3)
    lane = intake.lane(None, idle)
    rooms = [lane.room]
    deliver(lane, "1", "2")
    rooms.append(lane.room)
    await intake.take()
    rooms.append(lane.room)

    assert rooms == [3, 1, 1]


async def test_slots_taken_by_another_mailbox_are_no_room() -> None:
    intake = Intake(2)
    one, other = intake.lane(None, idle), intake.lane(None, idle)
    deliver(one, "1", "2")
    await taken(intake, 2)

    assert other.room == 0


async def test_room_is_never_negative() -> None:
    intake = Intake(1)
    lane = intake.lane(None, idle)
    deliver(lane, "1", "2", "3")

    assert lane.room == 0


async def test_fast_handler_opens_room_beyond_its_slots() -> None:
    intake = Intake(2)
    lane = intake.lane(None, idle)
    deliver(lane, "1")
    taken_from, _ = await intake.take()
    intake.release(taken_from, 0.01, 0)

    assert lane.capacity == lane.room == 2 + 20


def test_nothing_is_prefetched_before_the_first_measurement() -> None:
    assert Window(1000).size == 0


@pytest.mark.parametrize("seconds", [0.11, 1.0, 60.0])
def test_slow_handler_never_prefetches(seconds: float) -> None:
    window = Window(1)
    for _ in range(50):
        window.observe(seconds, 100)

    assert window.size == 0


def test_window_holds_a_tenth_of_a_second_of_work_for_all_slots() -> None:
    one, four = Window(1), Window(4)
    for window in (one, four):
        window.observe(0.01, 100)

    assert (one.size, four.size) == (10, 40)


def test_window_is_bounded_in_messages() -> None:
    window = Window(16)
    window.observe(0.0, 1)

    assert window.size == MAX_MESSAGES


def test_window_is_bounded_in_bytes() -> None:
    window = Window(16)
    window.observe(0.0, MAX_BYTES // 4)

    assert window.size == 4


def test_window_shrinks_when_a_handler_becomes_slow() -> None:
    window = Window(1)
    window.observe(0.001, 100)
    before = window.size
    for _ in range(50):
        window.observe(1.0, 100)

    assert (before, window.size) == (100, 0)


async def test_paused_mailbox_asks_for_nothing_and_gives_out_what_waits_to_be_handed_back() -> None:
    intake = Intake(4)
    lane = intake.lane(None, idle)
    deliver(lane, "1", "2")

    lane.pause(10.0)

    assert (lane.is_paused, lane.room, lane.flow) == (True, 0, Flow.PAUSED)
    assert [(await intake.take())[0].is_paused for _ in range(2)] == [True, True]


async def test_pause_ends_with_one_message_at_a_time() -> None:
    intake = Intake(4)
    refills: list[int] = []
    lane = intake.lane(None, lambda: refills.append(1))
    lane.pause(10.0)
    lane.tick(9.9)
    assert lane.is_paused

    lane.tick(10.0)
    deliver(lane, "1", "2")
    _, first = await intake.take()
    second = asyncio.ensure_future(intake.take())
    await settle()

    assert (first.topic, second.done(), lane.room, lane.flow) == ("1", False, 0, Flow.PROBING)
    assert refills
    lane.open()
    assert lane.flow is Flow.OPEN
    assert (await second)[1].topic == "2"


async def test_success_opens_a_mailbox_that_probes() -> None:
    intake = Intake(4)
    lane = intake.lane(None, idle)
    lane.pause(10.0)
    lane.tick(11.0)

    assert lane.succeeded(1)
    assert (lane.is_open, lane.room) == (True, 4)
    assert not lane.succeeded(2)


async def test_messages_that_fail_while_it_is_paused_do_not_make_the_pause_longer() -> None:
    lane = Intake(4).lane(None, idle)
    first = lane.trip(100.0)

    assert [lane.trip(101.0) for _ in range(5)] == [pytest.approx(first - 1.0)] * 5


async def test_other_mailboxes_go_on_while_one_is_paused() -> None:
    intake = Intake(2)
    one, other = intake.lane(None, idle), intake.lane(None, idle)
    one.pause(10.0)
    deliver(other, "a", "b")

    assert await taken(intake, 2) == ["a", "b"]
