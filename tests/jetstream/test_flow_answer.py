"""Handlers of every kind, what they are given, and the answers that yes and no get."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

import callboard
from callboard import (
    REQUEST_HEADERS_CONTEXT_VAR,
    Actor,
    BrokerRequest,
    BrokerResponse,
    BrokerResponseException,
    RemoteError,
    RequestTimeoutError,
    command,
    event,
    query,
)
from callboard.brokers.wire import format_time
from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.errors import NoHandlerError, NoStreamError
from tests.jetstream.eventually import eventually
from tests.jetstream.orders import Order, Placed, dead_letters, done_with
from tests.jetstream.service import service


async def test_command_query_and_event_carry_typed_content(nats_server: EmbeddedServer) -> None:
    placed: list[Placed] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self, order: Order) -> Placed:
            result = Placed(7, order)
            await self.publish("orders.placed", result)
            return result

        @query("orders.{number}.count")
        async def count(self, number: str) -> dict[str, str]:
            return {"number": number}

        @event("orders.placed")
        async def log(self, what: Placed) -> None:
            placed.append(what)

    async with service(nats_server, Orders) as system:
        answer = await system.board.request("orders.place", Order("nut", 3), returns=Placed)
        count = await system.board.request("orders.12.count")
        await eventually(lambda: len(placed) == 1)

    assert answer == Placed(7, Order("nut", 3)) == placed[0]
    assert count == {"number": "12"}


async def test_functions_and_plain_classes_handle_too(nats_server: EmbeddedServer) -> None:
    @query("orders.double")
    def double(number: int) -> int:
        return number * 2

    class Plain:
        @query("orders.triple")
        async def triple(self, number: int) -> int:
            return number * 3

    async with service(nats_server, double, Plain) as system:
        assert await system.board.request("orders.double", 4) == 8
        assert await system.board.request("orders.triple", 4) == 12


async def test_bare_client_takes_part_without_any_header(nats_server: EmbeddedServer, client: Client) -> None:
    seen: list[tuple[Order, dict[str, str]]] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self, order: Order) -> None:
            seen.append((order, dict(REQUEST_HEADERS_CONTEXT_VAR.get() or {})))

    async with service(nats_server, Orders):
        await client.publish("orders.place", b'{"item": "nut", "unknown": 1}')
        await eventually(lambda: len(seen) == 1)

    assert seen == [(Order("nut"), {})]


async def test_content_type_of_the_message_decides_how_it_is_read(nats_server: EmbeddedServer, client: Client) -> None:
    seen: list[Order] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self, order: Order) -> None:
            seen.append(order)

    async with service(nats_server, Orders):
        body = msgspec.msgpack.encode({"item": "nut", "count": 2})
        await client.publish("orders.place", body, headers={"Content-Type": "application/msgpack"})
        await eventually(lambda: seen == [Order("nut", 2)])


async def test_bare_client_gets_an_answer_at_the_topic_it_names(nats_server: EmbeddedServer, client: Client) -> None:
    class Orders(Actor):
        @query("orders.count")
        async def count(self) -> int:
            return 5

    inbox = client.new_inbox()
    replies: asyncio.Queue[Msg] = asyncio.Queue()
    await client.subscribe(inbox, cb=replies.put)
    async with service(nats_server, Orders):
        await client.publish("orders.count", b"", headers={"Callboard-Reply-Topic": inbox})
        reply = await asyncio.wait_for(replies.get(), 10)

    assert reply.data == b"5"


async def test_reply_goes_through_a_stream_to_a_named_topic(nats_server: EmbeddedServer) -> None:
    answers: list[tuple[int, str]] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self, number: int) -> int:
            return number + 1

    class Desk(Actor):
        @command("desk.answers")
        async def hear(self, request: BrokerRequest) -> None:
            answers.append((await request.content(), str(request.raw.identifier)))

    async with service(nats_server, Orders, Desk) as system:
        receipt = await system.board.publish("orders.place", 1, reply_topic="desk.answers")
        await eventually(lambda: len(answers) == 1)

    assert answers == [(2, receipt.identifier)]


async def test_event_reaches_each_actor_of_each_service_once(nats_server: EmbeddedServer, board: Board) -> None:
    seen: Counter[str] = Counter()

    def actors(place: str) -> list[type[Actor]]:
        class First(Actor):
            @event("orders.placed")
            async def log(self, number: int) -> None:
                seen[f"{place} first {number}"] += 1

        class Second(Actor):
            @event("orders.>")
            async def log(self, number: int) -> None:
                seen[f"{place} second {number}"] += 1

        return [First, Second]

    async with (
        service(nats_server, *actors("a"), name="a"),
        service(nats_server, *actors("a"), name="a"),
        service(nats_server, *actors("b"), name="b"),
    ):
        for number in range(20):
            await board.publish("orders.placed", number)
        await eventually(lambda: sum(seen.values()) >= 80)

    assert len(seen) == 80
    assert set(seen.values()) == {1}


async def test_two_event_handlers_of_one_actor_that_match_both_run(nats_server: EmbeddedServer) -> None:
    seen: list[str] = []

    class Log(Actor):
        @event("orders.placed")
        async def exact(self) -> None:
            seen.append("exact")

        @event("orders.*")
        async def wide(self) -> None:
            seen.append("wide")

    async with service(nats_server, Log) as system:
        await system.board.publish("orders.placed")
        await eventually(lambda: sorted(seen) == ["exact", "wide"])


async def test_door_from_outside(nats_server: EmbeddedServer) -> None:
    class Orders(Actor):
        @command("orders.place")
        async def place(self, order: Order) -> Placed:
            return Placed(1, order)

    async with service(nats_server, Orders), callboard.connect(nats_server.url) as door:
        assert await door.request("orders.place", Order("nut"), returns=Placed) == Placed(1, Order("nut"))
        assert (await door.publish("orders.place", Order("nut"))).stream == "ORDERS"


async def test_two_requests_whose_answers_come_in_reverse_order(nats_server: EmbeddedServer) -> None:
    second_came = asyncio.Event()

    class Orders(Actor):
        concurrency = 2

        @query("orders.echo")
        async def echo(self, text: str) -> str:
            if text == "first":
                await second_came.wait()
            second_came.set()
            return text

    async with service(nats_server, Orders) as system:
        first = asyncio.create_task(system.board.request("orders.echo", "first"))
        second = asyncio.create_task(system.board.request("orders.echo", "second"))

        assert await first == "first"
        assert await second == "second"


async def test_late_answer_reaches_nobody(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    go_on = asyncio.Event()

    class Orders(Actor):
        concurrency = 2

        @query("orders.echo")
        async def echo(self, text: str) -> str:
            if text == "late":
                await go_on.wait()
            return text

    async with service(nats_server, Orders) as system:
        with pytest.raises(RequestTimeoutError, match="outcome is unknown"):
            await system.board.request("orders.echo", "late", timeout=0.5)
        waiting = asyncio.create_task(system.board.request("orders.echo", "in time"))
        go_on.set()

        assert await waiting == "in time"
        await eventually(lambda: done_with(js, Orders, "orders.echo"))


# Answers that say no


class Refusing(Actor):
    retry = ()

    @query("orders.refuse")
    async def refuse(self) -> None:
        raise BrokerResponseException("no nuts left", status=409)

    @query("orders.fail")
    async def fail(self) -> None:
        raise ValueError("password is 1234")

    @query("orders.typed")
    async def typed(self, order: Order) -> None: ...

    @query("orders.strange")
    async def strange(self) -> object:
        return object()

    @query("orders.large")
    async def large(self) -> str:
        return "x" * 2 * 1024 * 1024

    @query("orders.header")
    async def header(self) -> BrokerResponse:
        return BrokerResponse(headers={"no name": "x"})

    @query("orders.response")
    async def response(self) -> BrokerResponse:
        return BrokerResponse({"x": 1}, status=201, headers={"shelf": "3"})


@pytest.mark.parametrize(
    ("topic", "content", "status", "kind", "text"),
    [
        ("orders.refuse", None, 409, "BrokerResponseException", "no nuts left"),
        ("orders.fail", None, 500, "ValueError", "the handler failed"),
        ("orders.typed", {"item": "nut", "count": "many"}, 400, "ContentDecodeError", "count"),
        ("orders.strange", None, 500, "ContentEncodeError", "cannot be serialised"),
        ("orders.large", None, 500, "MessageTooLargeError", "too large"),
        ("orders.header", None, 500, "HeaderError", "the handler failed"),
    ],
)
async def test_error_answer_says_what_the_caller_may_know(
    nats_server: EmbeddedServer, topic: str, content: Any, status: int, kind: str, text: str
) -> None:
    async with service(nats_server, Refusing) as system:
        with pytest.raises(RemoteError) as answer:
            await system.board.request(topic, content)

    assert (answer.value.status, answer.value.type) == (status, kind)
    assert text in answer.value.message
    assert "1234" not in str(answer.value.content)


async def test_malformed_body_is_answered_with_400_and_dead_lettered(
    nats_server: EmbeddedServer, client: Client, js: JetStreamContext
) -> None:
    reply = await answer_to(nats_server, client, "orders.typed", b"{no json", {})

    assert (reply.headers or {})["Callboard-Status"] == "400"
    (letter,) = await dead_letters(js)
    assert letter.data == b"{no json"


async def test_request_that_is_picked_up_too_late_is_answered_with_504(
    nats_server: EmbeddedServer, client: Client
) -> None:
    past = format_time(datetime.now(UTC) - timedelta(seconds=1))

    reply = await answer_to(nats_server, client, "orders.response", b"", {"Callboard-Deadline": past})

    assert (reply.headers or {})["Callboard-Status"] == "504"


async def test_status_and_headers_of_a_response_travel(nats_server: EmbeddedServer, client: Client) -> None:
    reply = await answer_to(nats_server, client, "orders.response", b"", {"user": "ann"})

    headers = reply.headers or {}
    assert (headers["Callboard-Status"], headers["shelf"], headers["user"]) == ("201", "3", "ann")
    assert json.loads(reply.data) == {"x": 1}


async def answer_to(server: EmbeddedServer, client: Client, topic: str, body: bytes, headers: dict[str, str]) -> Msg:
    """What `Refusing` answers to a raw message."""
    inbox = client.new_inbox()
    replies: asyncio.Queue[Msg] = asyncio.Queue()
    await client.subscribe(inbox, cb=replies.put)
    async with service(server, Refusing):
        await client.publish(topic, body, headers={"Callboard-Reply-Topic": inbox, **headers})
        return await asyncio.wait_for(replies.get(), 10)


async def test_request_without_handler_is_refused_here_and_nothing_is_published(
    nats_server: EmbeddedServer, board: Board, js: JetStreamContext
) -> None:
    class Log(Actor):
        @event("orders.placed")
        async def log(self) -> None: ...

    with pytest.raises(NoStreamError):
        await board.request("orders.placed")
    async with service(nats_server, Log):
        with pytest.raises(NoHandlerError, match="nothing was published"):
            await board.request("orders.placed")

    assert (await js.stream_info("ORDERS")).state.messages == 0
