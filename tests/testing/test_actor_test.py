"""The test kit: what it shows is what a real server shows. Each test here runs in memory and on a real server."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import ClassVar

import pytest
from attrs import frozen

from callboard import Actor, BrokerResponseException, RemoteError, RequestTimeoutError, command, event, query
from callboard.errors import InvalidArgumentError
from callboard.supervision import RestartIntensity, Supervisor
from callboard.testing import ActorTest, StillWaitingError
from tests.testing.conftest import Start


@frozen
class Order:
    number: int
    item: str


class Orders(Actor):
    publishes: ClassVar = {"stock.taken": str}

    def __init__(self) -> None:
        self.seen: list[Order] = []

    @command("orders.place")
    async def place(self, order: Order) -> int:
        self.seen.append(order)
        await self.publish("stock.taken", order.item)
        return len(self.seen)

    @query("orders.count")
    async def count(self) -> int:
        return len(self.seen)


async def test_requests_are_answered_and_events_reach_others(start: Start) -> None:
    taken: list[str] = []

    class Stock(Actor):
        @event("stock.taken")
        async def take(self, item: str) -> None:
            taken.append(item)

    async with start(Orders, Stock) as system:
        assert await system.request("orders.place", Order(1, "pen")) == 1
        assert await system.request("orders.place", Order(2, "ink"), returns=int) == 2
        await system.settled()
        assert await system.request("orders.count") == 2

    assert taken == ["pen", "ink"]
    assert system.dead_letters == []


async def test_what_fails_is_tried_again_when_time_has_passed(start: Start) -> None:
    tries: list[int] = []

    class Payments(Actor):
        @event("payments.due", retry=[0.5, 0.5])
        async def pay(self, number: int) -> None:
            tries.append(number)
            if len(tries) < 3:
                raise OSError("the bank is closed")

    async with start(Payments) as system:
        await system.publish("payments.due", 7)
        await system.advance(0.1)
        if not ActorTest.on_real_server:
            assert tries == [7]
            await system.advance(0.7)
            assert tries == [7, 7]
        await system.advance(2.0)
        await system.settled()
        assert tries == [7, 7, 7]
        assert not system.dead_letters


async def test_what_is_given_up_is_a_dead_letter_with_its_reason(start: Start) -> None:
    class Picky(Actor):
        @event("things.seen")
        async def see(self, number: int) -> None: ...

    async with start(Picky) as system:
        await system.publish("things.seen", "seven")
        await system.settled()
        (letter,) = system.dead_letters

    assert (letter.topic, letter.actor, letter.error_type) == ("things.seen", "Picky", "ContentDecodeError")
    assert letter.body == b'"seven"'


async def test_spans_of_a_flow_are_one_trace(start: Start) -> None:
    async with start(Orders) as system:
        await system.request("orders.place", Order(1, "pen"))
        await system.settled()
        names = sorted(span.name for span in system.spans)
        traces = {span.context.trace_id for span in system.spans if span.context}

    assert names == ["process orders.place", "publish stock.taken", "reply", "request orders.place"]
    assert len(traces) == 1


async def test_message_whose_ack_is_lost_is_delivered_again(start: Start) -> None:
    numbers: list[int] = []

    class Counting(Actor):
        @event("count.up", ack_wait=2.0)
        async def up(self, number: int) -> None:
            numbers.append(number)

    async with start(Counting) as system:
        system.lose_acks()
        await system.publish("count.up", 1)
        await system.publish("count.up", 2)
        await system.advance(2.5)
        await system.settled()

    assert sorted(numbers) == [1, 1, 2]


async def test_crashed_actor_is_started_again_with_a_new_state(start: Start) -> None:
    async with start(Orders) as system:
        assert await system.request("orders.place", Order(1, "pen")) == 1
        await system.crash("Orders")  # the first restart comes at once
        (orders,) = system.system.status().actors
        assert orders.restarts == 1
        assert await system.request("orders.place", Order(2, "ink")) == 1


async def test_actor_that_crashes_too_often_is_parked(start: Start) -> None:
    async with start(Supervisor([Orders], intensity=RestartIntensity(max_restarts=1, period=60))) as system:
        await system.crash("Orders")
        await system.advance(2.5)
        await system.crash("Orders")
        await system.advance(2.5)
        (orders,) = system.system.status().actors
        assert orders.state == "parked"
        with pytest.raises(InvalidArgumentError, match="no actor 'Ordres' runs here; did you mean 'Orders'"):
            await system.crash("Ordres")


async def test_disconnected_nothing_is_lost(start: Start) -> None:
    numbers: list[int] = []

    class Counting(Actor):
        @event("count.up")
        async def up(self, number: int) -> None:
            numbers.append(number)

    async with start(Counting) as system:
        await system.publish("count.up", 1)
        await system.settled()
        await system.disconnect()
        publishing = asyncio.create_task(system.publish("count.up", 2))
        await asyncio.sleep(0)
        await system.reconnect()
        await publishing
        await system.settled()

    assert numbers == [1, 2]


async def test_refusal_is_an_answer(start: Start) -> None:
    class Closed(Actor):
        @command("shop.enter")
        async def enter(self) -> None:
            raise BrokerResponseException("closed")

    async with start(Closed) as system:
        with pytest.raises(RemoteError, match="closed"):
            await system.request("shop.enter", timeout=20)


async def test_request_is_answered_by_the_owner_of_the_topic_and_not_by_who_hears_of_it(start: Start) -> None:
    heard: list[int] = []

    class Listener(Actor):
        @event("desk.ask")
        async def hear(self, number: int) -> str:
            heard.append(number)
            if number == 2:
                raise BrokerResponseException("not for me")
            return "heard"

    class Desk(Actor):
        @query("desk.ask")
        async def ask(self, number: int) -> str:
            while number not in heard:  # so that the other one could have answered
                await asyncio.sleep(0.001)
            return "asked"

    async with start(Listener, Desk) as system:
        assert [await system.request("desk.ask", number) for number in (1, 2)] == ["asked", "asked"]


# In memory


class Slow(Actor):
    @command("slow.work", retry=[60.0], timeout=30)
    async def work(self, number: int) -> int:
        self.tries = getattr(self, "tries", 0) + 1
        if self.tries == 1:
            raise OSError("not yet")
        return number


async def test_answer_that_waits_for_time_is_said_to() -> None:
    async with ActorTest(Slow) as system:
        with pytest.raises(StillWaitingError, match=r"'slow.work' is not answered before time passes.*advance"):
            await system.request("slow.work", 7, timeout=300)


async def test_an_hour_passes_in_no_time() -> None:
    begun = monotonic()
    async with ActorTest(Slow) as system:
        asking = asyncio.create_task(system.board.request("slow.work", 7, timeout=300))
        await system.advance(90)
        assert await asking == 7
        await system.advance(3600)
    assert monotonic() - begun < 10


async def test_timeout_of_a_request_goes_by_the_tests_clock() -> None:
    class Hanging(Actor):
        @command("hang.on")
        async def hang(self) -> None:
            await asyncio.Event().wait()

    async with ActorTest(Hanging) as system:
        asking = asyncio.create_task(system.board.request("hang.on", timeout=10))
        await system.advance(9.9)
        assert not asking.done()
        await system.advance(0.2)
        with pytest.raises(RequestTimeoutError):
            await asking


async def test_handler_that_hangs_is_cancelled_when_its_time_is_over() -> None:
    class Hanging(Actor):
        @event("hang.on", timeout=5, retry=[])
        async def hang(self) -> None:
            await asyncio.Event().wait()

    async with ActorTest(Hanging) as system:
        await system.publish("hang.on")
        await system.advance(5.2)
        (letter,) = system.dead_letters
    assert letter.error_type == "HandlerTimeoutError"


async def test_what_never_rests_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callboard.testing.actor_test.PATIENCE", 0.2)

    class Hanging(Actor):
        @event("hang.on")
        async def hang(self) -> None:
            await asyncio.Event().wait()

    async with ActorTest(Hanging) as system:
        await system.publish("hang.on")
        with pytest.raises(StillWaitingError, match=r"settled\(\): not at rest after 0.2 s; at work: hang.on: 1 run"):
            await system.settled()
        await system.system.stop(0.0)


async def test_publish_while_the_broker_is_away_ends_after_16_seconds() -> None:
    async with ActorTest(Orders) as system:
        await system.disconnect()
        publishing = asyncio.create_task(system.publish("stock.taken", "pen"))
        await system.advance(15.9)
        assert not publishing.done()
        await system.advance(0.2)
        assert "not connected" in str(publishing.exception())
        await system.reconnect()


async def test_nothing_can_be_asked_before_it_begins() -> None:
    with pytest.raises(StillWaitingError, match="use it with 'async with'"):
        await ActorTest(Orders).settled()
