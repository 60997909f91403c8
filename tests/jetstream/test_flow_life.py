"""What surrounds a message, and the life of actors: context, dependencies, restarts, stops."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from callboard import (
    REQUEST_HEADERS_CONTEXT_VAR,
    REQUEST_REPLY_TOPIC_CONTEXT_VAR,
    Actor,
    ActorCrash,
    BrokerRequest,
    RequestTimeoutError,
    command,
    event,
    query,
)
from callboard.actors import declaration_of
from callboard.backoff import Backoff
from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.supervision import RestartIntensity, Supervisor
from callboard.system import System
from tests.jetstream.eventually import eventually
from tests.jetstream.orders import done_with, has_letters
from tests.jetstream.service import durable_of, service

_mood: contextvars.ContextVar[str] = contextvars.ContextVar("mood", default="calm")


async def test_context_of_a_message_is_its_own(nats_server: EmbeddedServer) -> None:
    seen: list[tuple[dict[str, str], bool, str]] = []

    class Orders(Actor):
        @query("orders.count")
        async def count(self) -> None:
            headers = REQUEST_HEADERS_CONTEXT_VAR.get()
            assert headers is not None
            seen.append((dict(headers), REQUEST_REPLY_TOPIC_CONTEXT_VAR.get() is not None, _mood.get()))
            headers["added"] = "here"
            _mood.set("angry")

        @query("orders.sync")
        def sync(self) -> None:
            seen.append((dict(REQUEST_HEADERS_CONTEXT_VAR.get() or {}), False, _mood.get()))
            _mood.set("angry")

    async with service(nats_server, Orders) as system:
        await system.board.request("orders.count", headers={"user": "ann"})
        await system.board.publish("orders.count")
        await system.board.request("orders.sync")
        await system.board.request("orders.sync")

    assert seen == [({"user": "ann"}, True, "calm"), ({}, False, "calm"), ({}, False, "calm"), ({}, False, "calm")]


async def test_topics_and_headers_may_have_any_letters(nats_server: EmbeddedServer) -> None:
    seen: list[tuple[str, dict[str, str]]] = []
    headers = {"note": "na\u00efve \u2603", "colon": "a: b", "empty": "", "user": "ann", "User": "bob"}

    class Orders(Actor):
        @command("orders.>")
        async def place(self, request: BrokerRequest) -> None:
            seen.append((request.raw.topic, request.headers))

    async with service(nats_server, Orders) as system:
        await system.board.publish("orders.\u00fcber", headers=headers)
        await eventually(lambda: seen == [("orders.\u00fcber", headers)])


async def test_headers_travel_on_to_what_a_handler_sends(nats_server: EmbeddedServer) -> None:
    seen: list[dict[str, str]] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self) -> None:
            await self.publish("orders.placed", headers={"shelf": "3"})

        @event("orders.placed")
        async def log(self, request: BrokerRequest) -> None:
            seen.append(request.headers)

    async with service(nats_server, Orders) as system:
        await system.board.publish("orders.place", headers={"user": "ann"})
        await eventually(lambda: seen == [{"user": "ann", "shelf": "3"}])


async def test_nested_request_inherits_the_deadline(nats_server: EmbeddedServer) -> None:
    deadlines: list[str | None] = []

    class Stock(Actor):
        @query("stock.count")
        async def count(self) -> int:
            deadlines.append(_deadline())
            return 3

    class Orders(Actor):
        @query("orders.count")
        async def count(self) -> int:
            deadlines.append(_deadline())
            return await self.request("stock.count", returns=int, timeout=60)

    async with service(nats_server, Orders, Stock) as system:
        assert await system.board.request("orders.count", timeout=20) == 3

    assert deadlines[0] is not None
    assert deadlines[0] == deadlines[1]


def _deadline() -> str | None:
    from callboard.routing.current import CURRENT  # noqa: PLC0415

    current = CURRENT.get()
    assert current is not None
    return current.delivery.headers.get("Callboard-Deadline")


async def test_nested_request_does_not_wait_longer_than_the_outer_caller(nats_server: EmbeddedServer) -> None:
    outcome: list[BaseException] = []
    go_on = asyncio.Event()

    class Stock(Actor):
        @query("stock.count")
        async def count(self) -> None:
            await go_on.wait()

    class Orders(Actor):
        retry = ()

        @query("orders.count")
        async def count(self) -> None:
            try:
                await self.request("stock.count", timeout=60)
            except RequestTimeoutError as error:
                outcome.append(error)
                raise

    async with service(nats_server, Orders, Stock) as system:
        with pytest.raises(RequestTimeoutError):
            await system.board.request("orders.count", timeout=1)
        await eventually(lambda: len(outcome) == 1, within=5)
        go_on.set()


# Life of actors


async def test_lifecycle_hooks_and_dependencies(nats_server: EmbeddedServer) -> None:
    story: list[str] = []

    class Desk:
        seats = 3

    @asynccontextmanager
    async def open_desk() -> AsyncGenerator[Desk]:
        story.append("desk opened")
        yield Desk()
        story.append("desk closed")

    class First(Actor):
        def __init__(self, desk: Desk) -> None:
            self.desk = desk

        async def on_start(self) -> None:
            story.append("first started")

        async def on_stop(self) -> None:
            story.append("first stopped")

        @query("orders.first")
        async def first(self) -> int:
            return self.desk.seats

    class Second(Actor):
        def __init__(self, desk: Desk) -> None:
            self.desk = desk

        def on_start(self) -> None:  # type: ignore[override]
            story.append("second started")

        @query("orders.second")
        async def second(self) -> None: ...

    First.__init__.__annotations__["desk"] = Desk
    Second.__init__.__annotations__["desk"] = Desk
    tree = Supervisor([First, Second], provide={Desk: open_desk})
    async with System(tree, name="test", nats=nats_server.url) as system:
        assert await system.board.request("orders.first") == 3

    assert story == ["desk opened", "first started", "second started", "first stopped", "desk closed"]


async def test_actor_that_cannot_start_fails_the_start_and_leaves_nothing(
    nats_server: EmbeddedServer, client: Client, js: JetStreamContext
) -> None:
    class Broken(Actor):
        async def on_start(self) -> None:
            raise ValueError("no luck")

        @query("orders.first")
        async def first(self) -> None: ...

    system = service(nats_server, Broken)
    with pytest.raises(ValueError, match="no luck"):
        await system.start()

    info = await js.consumer_info("ORDERS", durable_of(Broken, "orders.first"))
    assert info.num_waiting == 0


async def test_crash_restarts_the_actor_and_the_message_comes_back_without_an_attempt(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    lives: list[int] = []
    runs: list[tuple[int, int]] = []

    class Orders(Actor):
        retry = ()

        async def on_start(self) -> None:
            lives.append(1)

        @command("orders.place")
        async def place(self, number: int) -> None:
            runs.append((len(lives), number))
            if len(lives) < 3:
                raise ActorCrash("state is spoiled")

    backoff = Backoff(base=0.01, maximum=0.01)
    tree = Supervisor([Orders], backoff=backoff)
    async with System(tree, name="test", nats=nats_server.url) as system:
        await system.board.publish("orders.place", 1)
        await eventually(lambda: (3, 1) in runs)
        await eventually(lambda: done_with(js, Orders, "orders.place"))

    assert await has_letters(js, 0)
    assert len(lives) == 3


async def test_instance_that_crashed_is_given_nothing_more(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    spoiled: set[int] = set()
    handled_by_spoiled: list[int] = []
    handled: list[int] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self, number: int) -> None:
            if id(self) in spoiled:
                handled_by_spoiled.append(number)
            if number == 50 and not spoiled:
                spoiled.add(id(self))
                raise ActorCrash("state is spoiled")
            handled.append(number)

    instances: list[Actor] = []
    Orders.on_start = lambda self: _remember(instances, self)  # type: ignore[method-assign]
    async with service(nats_server, Orders) as system:
        await asyncio.gather(*(system.board.publish("orders.place", number) for number in range(200)))
        await eventually(lambda: len(set(handled)) == 200)
        await eventually(lambda: done_with(js, Orders, "orders.place"))

    assert len(instances) == 2
    assert handled_by_spoiled == []


async def _remember(instances: list[Actor], instance: Actor) -> None:
    instances.append(instance)


async def test_actor_that_crashes_too_often_is_parked_and_its_sibling_goes_on(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    lives: list[int] = []

    class Crashing(Actor):
        async def on_start(self) -> None:
            lives.append(1)

        @command("orders.crash")
        async def crash(self) -> None:
            raise ActorCrash("always")

    class Steady(Actor):
        @query("orders.count")
        async def count(self) -> int:
            return 1

    tree = Supervisor(
        [Crashing, Steady],
        intensity=RestartIntensity(max_restarts=2, period=30),
        backoff=Backoff(base=0.01, maximum=0.01),
    )
    async with System(tree, name="test", nats=nats_server.url) as system:
        await system.board.publish("orders.crash")
        await eventually(lambda: any(state.state == "parked" for state in system._runners[0].states()))

        assert await system.board.request("orders.count") == 1
        info = await js.consumer_info("ORDERS", durable_of(Crashing, "orders.crash"))

    assert len(lives) == 3
    assert (info.num_pending or 0) + (info.num_ack_pending or 0) == 1


async def test_stop_hands_back_what_runs_too_long_and_it_is_no_attempt(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    runs: list[str] = []

    def actor(life: str) -> type[Actor]:
        class Orders(Actor):
            retry = ()

            @command("orders.place")
            async def place(self) -> None:
                runs.append(life)
                if life == "first":
                    await asyncio.Event().wait()

        return Orders

    async with service(nats_server, actor("first"), grace=0.2) as system:
        await system.board.publish("orders.place")
        await eventually(lambda: runs == ["first"])
    second = actor("second")
    async with service(nats_server, second):
        await eventually(lambda: runs == ["first", "second"], within=5)
        await eventually(lambda: done_with(js, second, "orders.place"))

    assert await has_letters(js, 0)


async def test_stop_lets_a_running_handler_finish_and_answer(nats_server: EmbeddedServer, board: Board) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Orders(Actor):
        @command("orders.place")
        async def place(self) -> str:
            begun.set()
            await go_on.wait()
            return "done"

    system = service(nats_server, Orders)
    await system.start()
    asking = asyncio.create_task(board.request("orders.place", timeout=20))
    await begun.wait()
    stopping = asyncio.create_task(system.stop())
    await asyncio.sleep(0)
    go_on.set()

    assert await asking == "done"
    await stopping


async def test_server_that_dies_under_a_handler_costs_no_attempt_and_no_restart(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    lives: list[int] = []
    runs: list[int] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Orders(Actor):
        retry = ()
        ack_wait = 1.0
        publishes = {"placed.order": int}

        async def on_start(self) -> None:
            lives.append(1)

        @command("orders.place")
        async def place(self) -> None:
            runs.append(1)
            begun.set()
            await go_on.wait()
            await self.publish("placed.order", 1)

    async with service(nats_server, Orders) as system:
        await system.board.publish("orders.place")
        await begun.wait()
        nats_server.kill()
        go_on.set()
        await nats_server.restart()
        await eventually(lambda: done_with(js, Orders, "orders.place"))
        assert (await js.stream_info("PLACED")).state.messages == 1

    assert lives == [1]
    assert await has_letters(js, 0)
    assert declaration_of(Orders).concurrency == 1
