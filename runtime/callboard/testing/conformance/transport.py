"""What actors may rely on, whatever carries their messages."""

# ruff: noqa: S101 - behaviours are tests

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import ClassVar
from uuid import uuid4

import pytest
from attrs import frozen

from callboard.actors import Actor
from callboard.brokers.topic import overlap
from callboard.brokers.wire import MESSAGE_ID, Frame
from callboard.errors import (
    BrokerResponseException,
    NoHandlerError,
    NoStreamError,
    RemoteError,
    RequestTimeoutError,
    TopologyError,
)
from callboard.routing.decorator import command, event, query
from callboard.routing.request import BrokerRequest
from callboard.supervision import Supervisor
from callboard.system import System
from callboard.testing.conformance.delivering import DeliveringConformance
from callboard.testing.conformance.system import Connect, eventually
from callboard.testing.features import needs

__all__ = ["TransportConformance"]


@frozen
class Order:
    item: str
    count: int = 1


@asynccontextmanager
async def service(
    connect: Connect, *actors: type[Actor], name: str = "shop", grace: float = 5.0
) -> AsyncGenerator[System]:
    """A running service of these actors."""
    async with System(Supervisor(list(actors)), name=name, transport=connect(), grace=grace) as system:
        yield system


class Desk(Actor):
    """Takes orders."""

    retry = ()

    @command("orders.place")
    async def place(self, order: Order) -> int:
        if order.count == 0:
            raise BrokerResponseException("order at least one", status=422)
        if order.count < 0:
            raise ValueError(order.count)
        return order.count

    @query("orders.{number}.state")
    async def state(self, number: str) -> str:
        return f"order {number} is on its way"


class TransportConformance(DeliveringConformance):
    """What a `BrokerTransport` does for actors.

    Override the fixture `connect`; each test gets a message system of its own, with nothing in it.
    """

    async def test_mailboxes_are_live_until_they_are_closed(self, connect: Connect) -> None:
        async with service(connect, Desk) as system:
            await eventually(lambda: system.ready)
            opened = system.status().actors[0].mailboxes
        closed = system.status().actors[0].mailboxes
        assert [mailbox.topic for mailbox in opened] == ["orders.place", "orders.{number}.state"]
        assert [mailbox.live for mailbox in closed] == [False, False]
        assert [mailbox.durable for mailbox in closed] == [mailbox.durable for mailbox in opened]

    @needs("private_replies")
    async def test_request_is_answered_with_the_handler_s_result(self, connect: Connect) -> None:
        async with service(connect, Desk) as system:
            assert await system.board.request("orders.place", Order("tea", 3), returns=int) == 3
            assert await system.board.request("orders.7.state") == "order 7 is on its way"

    @needs("private_replies")
    @pytest.mark.parametrize(("count", "status"), [(0, 422), (-1, 500), ("many", 400)])
    async def test_request_is_answered_with_what_stood_in_the_way(
        self, connect: Connect, count: object, status: int
    ) -> None:
        async with service(connect, Desk) as system:
            with pytest.raises(RemoteError) as raised:
                await system.board.request("orders.place", {"item": "tea", "count": count})
            assert raised.value.status == status

    @needs("declared_topics", "private_replies")
    async def test_request_that_nobody_handles_is_refused_here(self, connect: Connect) -> None:
        async with service(connect, Desk) as system:
            with pytest.raises(NoHandlerError):
                await system.board.request("orders.cancel")
            with pytest.raises(NoStreamError):
                await system.board.request("nothing.here")

    @needs("declared_topics")
    async def test_publish_without_a_stream_is_refused(self, connect: Connect) -> None:
        async with service(connect, Desk) as system:
            with pytest.raises(NoStreamError):
                await system.board.publish("nothing.here", 1)

    @needs("duplicate_window")
    async def test_one_identifier_is_stored_once_for_a_topic(self, connect: Connect) -> None:
        async with service(connect, Desk) as system:
            identifier = uuid4()
            first = await system.board.publish("orders.noted", 1, identifier=identifier)
            again = await system.board.publish("orders.noted", 2, identifier=identifier)
            elsewhere = await system.board.publish("orders.other", 1, identifier=identifier)
            assert (first.duplicate, again.duplicate, elsewhere.duplicate) == (False, True, False)
            assert again.sequence == first.sequence

    @needs("duplicate_window")
    async def test_message_ids_are_compared_in_the_whole_stream(self, connect: Connect) -> None:
        async with service(connect, Desk) as system, connect() as transport:
            del system
            await transport.publish(Frame("orders.a", {MESSAGE_ID: "same"}, b"1"))
            assert (await transport.publish(Frame("orders.b", {MESSAGE_ID: "same"}, b"1"))).duplicate

    @needs("groups", "wildcards")
    async def test_event_reaches_each_actor_of_each_service_once(self, connect: Connect) -> None:
        heard: list[str] = []

        class Kitchen(Actor):
            @event("orders.placed")
            async def cook(self, order: Order) -> None:
                heard.append(f"kitchen {order.item}")

        class Bar(Actor):
            @event("orders.*")
            async def pour(self, order: Order) -> None:
                heard.append(f"bar {order.item}")

        async with (
            service(connect, Kitchen, Bar, name="one") as system,
            service(connect, Kitchen, name="one"),
            service(connect, Kitchen, name="two"),
        ):
            await system.board.publish("orders.placed", Order("tea"))
            await eventually(lambda: len(heard) >= 3)
            await system.board.publish("orders.placed", Order("soup"))
            await eventually(lambda: len(heard) >= 6)
        assert sorted(heard) == sorted(
            ["kitchen tea", "bar tea", "kitchen tea", "kitchen soup", "bar soup", "kitchen soup"]
        )

    @needs("order")
    async def test_messages_begin_in_stream_order_with_one_slot(self, connect: Connect) -> None:
        """S05."""
        seen: list[int] = []

        class Counter(Actor):
            @event("numbers.drawn")
            async def count(self, number: int) -> None:
                await asyncio.sleep(0)
                seen.append(number)

        async with service(connect, Counter) as system:
            for number in range(8):
                await system.board.publish("numbers.drawn", number)
            await eventually(lambda: len(seen) == 8)
        assert seen == list(range(8))

    @needs("delayed_redelivery", "private_replies")
    async def test_failed_message_is_tried_as_often_as_declared_and_its_reply_says_so(self, connect: Connect) -> None:
        """S14."""
        tries: list[int] = []

        class Flaky(Actor):
            retry = (0, 0.01)

            @command("orders.place")
            async def place(self, order: Order) -> int:
                tries.append(order.count)
                raise ValueError(order)

        async with service(connect, Flaky) as system:
            with pytest.raises(RemoteError) as raised:
                await system.board.request("orders.place", Order("tea"))
        assert raised.value.type == "ValueError"
        assert len(tries) == 3

    @needs("duplicate_window", "private_replies")
    async def test_repeated_attempt_stores_its_outputs_once(self, connect: Connect) -> None:
        heard: list[str] = []
        attempts: list[str] = []

        class Forwarding(Actor):
            retry = (0,)
            publishes: ClassVar = {"orders.placed": Order}

            @command("orders.place")
            async def place(self, order: Order) -> None:
                await self.publish("orders.placed", order)
                attempts.append(order.item)
                if len(attempts) == 1:
                    raise ValueError("after the output")

            @event("orders.placed")
            async def hear(self, order: Order) -> None:
                heard.append(order.item)

        async with service(connect, Forwarding) as system:
            await system.board.request("orders.place", Order("tea"))
            await system.board.request("orders.place", Order("soup"))
            await eventually(lambda: "soup" in heard)
        assert attempts == ["tea", "tea", "soup"]
        assert heard == ["tea", "soup"]

    @needs("durable")
    async def test_stop_hands_back_what_has_not_finished(self, connect: Connect) -> None:
        """S07."""
        handled: list[str] = []
        stuck = asyncio.Event()

        class Slow(Actor):
            @event("orders.placed")
            async def cook(self, order: Order) -> None:
                if not handled and not stuck.is_set():
                    stuck.set()
                    await asyncio.Event().wait()
                handled.append(order.item)

        async with service(connect, Slow, grace=0.05) as system:
            for item in ("tea", "soup", "cake"):
                await system.board.publish("orders.placed", Order(item))
            await stuck.wait()
        assert handled == []
        async with service(connect, Slow):
            await eventually(lambda: len(handled) == 3)
        assert sorted(handled) == ["cake", "soup", "tea"]

    async def test_reply_goes_to_a_topic_that_somebody_handles(self, connect: Connect) -> None:
        answers: list[tuple[str, object, int]] = []

        class Asking(Actor):
            @event("orders.answered")
            async def note(self, answer: BrokerRequest) -> None:
                answers.append((answer.headers["about"], await answer.content(), answer.raw.status))

        async with service(connect, Desk, Asking) as system:
            await system.board.publish(
                "orders.place", Order("tea", 2), headers={"about": "tea"}, reply_topic="orders.answered"
            )
            await eventually(lambda: len(answers) == 1)
        assert answers == [("tea", 2, 200)]

    @needs("private_replies")
    async def test_two_requests_get_their_own_answers_in_whatever_order(self, connect: Connect) -> None:
        """S08."""
        first_may_answer = asyncio.Event()

        class Slow(Actor):
            concurrency = 2

            @query("echo.back")
            async def echo(self, word: str) -> str:
                if word == "first":
                    await first_may_answer.wait()
                return word

        async with service(connect, Slow) as system:
            first = asyncio.create_task(system.board.request("echo.back", "first"))
            assert await system.board.request("echo.back", "second") == "second"
            first_may_answer.set()
            assert await first == "first"

    @needs("private_replies")
    async def test_caller_whose_time_is_up_hears_that_the_outcome_is_unknown(self, connect: Connect) -> None:
        class Silent(Actor):
            @query("echo.never")
            async def never(self) -> None:
                await asyncio.Event().wait()

        async with service(connect, Silent, grace=0.05) as system:
            with pytest.raises(RequestTimeoutError, match="outcome is unknown"):
                await system.board.request("echo.never", timeout=0.1)

    @needs("ownership")
    async def test_command_belongs_to_one_service(self, connect: Connect) -> None:
        class Other(Actor):
            @command("orders.*")
            async def anything(self, request: BrokerRequest) -> None: ...

        assert overlap("orders.*", "orders.place")
        async with service(connect, Desk, name="one"):
            with pytest.raises(TopologyError, match="belongs to the service 'one'"):
                async with service(connect, Other, name="two"):
                    pass

    @needs("private_replies")
    async def test_topic_that_an_actor_does_not_declare_is_logged_once(
        self, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Chatty(Actor):
            publishes: ClassVar = {"orders.placed": Order, "orders.{number}.sent": Order}

            @command("orders.place")
            async def place(self, order: Order) -> None:
                await self.publish("orders.placed", order)
                await self.publish("orders.7.sent", order)
                await self.publish("orders.plced", order)

        async with service(connect, Chatty) as system:
            for _ in range(2):
                await system.board.request("orders.place", Order("tea"))
        told = [record.getMessage() for record in caplog.records if "does not declare" in record.getMessage()]
        assert told == [
            "Chatty publishes to 'orders.plced', which its 'publishes' does not declare; did you mean 'orders.placed'?"
        ]
