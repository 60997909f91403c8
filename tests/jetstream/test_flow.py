"""From a publish to its end: handlers, answers, failures, restarts, on the real server."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

import asyncio
import contextvars
import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from attrs import frozen
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

import callboard
from callboard import (
    REQUEST_HEADERS_CONTEXT_VAR,
    REQUEST_REPLY_TOPIC_CONTEXT_VAR,
    Actor,
    ActorCrash,
    BrokerRequest,
    BrokerResponse,
    BrokerResponseException,
    RemoteError,
    RequestTimeoutError,
    command,
    event,
    query,
)
from callboard.actors import declaration_of
from callboard.backoff import Backoff
from callboard.brokers.wire import format_time
from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.errors import NoHandlerError, NoStreamError
from callboard.message import BrokerMessage
from callboard.supervision import RestartIntensity, Supervisor
from callboard.system import System
from tests.jetstream.eventually import eventually
from tests.jetstream.service import durable_of, service


@frozen
class Order:
    item: str
    count: int = 1


@frozen
class Placed:
    number: int
    order: Order


async def dead_letters(js: JetStreamContext) -> list[Any]:
    """All dead letters, in order."""
    state = (await js.stream_info("CALLBOARD_DEAD")).state
    return [await js.get_msg("CALLBOARD_DEAD", sequence) for sequence in range(1, state.last_seq + 1)]


async def has_letters(js: JetStreamContext, count: int) -> bool:
    return (await js.stream_info("CALLBOARD_DEAD")).state.messages == count


async def done_with(js: JetStreamContext, actor: Any, topic: str, stream: str = "ORDERS") -> bool:
    """Whether the mailbox of a handler is empty and everything is settled."""
    info = await js.consumer_info(stream, durable_of(actor, topic))
    return not info.num_pending and not info.num_ack_pending


# Kinds, content, answers


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


# Failures


async def test_message_that_always_fails_is_dead_lettered_with_everything_needed(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    failures: list[str] = []

    class Orders(Actor):
        retry = (0.0, 0.05)

        @command("orders.place")
        async def place(self, order: Order) -> None:
            raise ValueError(f"cannot place {order.item}")

        async def on_failure(self, error: BaseException, message: BrokerMessage) -> None:
            failures.append(f"{error} {message.topic}")

    async with service(nats_server, Orders) as system:
        receipt = await system.board.publish("orders.place", Order("nut"), headers={"shelf": "3"})
        await eventually(lambda: has_letters(js, 1))
        await eventually(lambda: done_with(js, Orders, "orders.place"))

    (letter,) = await dead_letters(js)
    assert letter.subject == f"_callboard.dead.{durable_of(Orders, 'orders.place')}"
    assert json.loads(letter.data) == {"item": "nut", "count": 1}
    headers = letter.headers
    assert headers["Callboard-Origin-shelf"] == "3"
    assert headers["Callboard-Origin-Callboard-Id"] == receipt.identifier
    assert headers["Callboard-Dead-Attempts"] == "3"
    assert headers["Callboard-Dead-Topic"] == "orders.place"
    assert headers["Callboard-Dead-Stream"] == "ORDERS"
    assert headers["Callboard-Dead-Sequence"] == str(receipt.sequence)
    assert headers["Callboard-Dead-Error-Type"] == "ValueError"
    assert json.loads(headers["Callboard-Dead-Error-Message"]) == "cannot place nut"
    traceback = json.loads(headers["Callboard-Dead-Traceback"])
    assert "in place" in traceback
    assert "ValueError: cannot place nut" in traceback
    assert failures == ["cannot place nut orders.place"] * 3


async def test_largest_message_and_longest_reason_still_make_a_dead_letter(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    class Orders(Actor):
        retry = ()

        @command("orders.place")
        async def place(self, text: str) -> None:
            raise ValueError("y" * 100_000)

    text = "x" * (1024 * 1024 - 8192 - 400)
    async with service(nats_server, Orders) as system:
        await system.board.publish("orders.place", text)
        await eventually(lambda: has_letters(js, 1))

    (letter,) = await dead_letters(js)
    assert json.loads(letter.data) == text
    assert letter.headers["Callboard-Dead-Error-Type"] == "ValueError"


async def test_poison_message_stops_nobody(nats_server: EmbeddedServer, client: Client, js: JetStreamContext) -> None:
    seen: list[Order] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self, order: Order) -> None:
            seen.append(order)

    poison: list[tuple[bytes, dict[str, str] | None]] = [
        (b"\xff\xfe", None),
        (b"{}", {"Content-Type": "text/html"}),
        (b"{}", {"Callboard-Status": "fine"}),
        (b"[]", {"Callboard-Id": "no uuid", "Callboard-Deadline": "soon"}),
        (b"{}", {"Callboard-Reply-Topic": "wild.*", "Callboard-Version": "x"}),
    ]
    async with service(nats_server, Orders):
        for body, headers in poison:
            await client.publish("orders.place", body, headers=headers)
        await client.publish("orders.place", b'{"item": "nut"}')
        await eventually(lambda: len(seen) == 1)
        await eventually(lambda: done_with(js, Orders, "orders.place"))

    letters = await dead_letters(js)
    assert [letter.headers["Callboard-Dead-Sequence"] for letter in letters] == ["1", "2", "3", "4", "5"]


async def test_answer_that_its_topic_cannot_take_is_dead_lettered_and_nothing_runs_again(
    nats_server: EmbeddedServer, client: Client, js: JetStreamContext
) -> None:
    runs: list[int] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self) -> int:
            runs.append(1)
            return 1

    async with service(nats_server, Orders):
        for topic in ("wild.*", "no.stream.there"):
            await client.publish("orders.place", b"", headers={"Callboard-Reply-Topic": topic})
        await eventually(lambda: has_letters(js, 2))
        await eventually(lambda: done_with(js, Orders, "orders.place"))

    assert len(runs) == 2


async def test_attempts_survive_a_restart_of_the_service(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    attempts: list[str] = []

    def actor(life: str) -> type[Actor]:
        class Orders(Actor):
            retry = (0.0, 1.5, 0.0)

            @command("orders.place")
            async def place(self) -> None:
                attempts.append(life)
                raise ValueError("never")

        return Orders

    async with service(nats_server, actor("first")) as system:
        await system.board.publish("orders.place")
        await eventually(lambda: len(attempts) == 2)
    async with service(nats_server, actor("second")):
        await eventually(lambda: has_letters(js, 1))

    (letter,) = await dead_letters(js)
    assert attempts == ["first", "first", "second", "second"]
    assert letter.headers["Callboard-Dead-Attempts"] == "4"


async def test_repeated_attempt_publishes_nothing_twice(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    runs: list[int] = []

    class Orders(Actor):
        retry = (0.0, 0.0)
        publishes = {"placed.order": int}

        @command("orders.place")
        async def place(self) -> None:
            for number in (1, 1, 2):
                await self.publish("placed.order", number)
            runs.append(1)
            if len(runs) < 3:
                raise ValueError("too early")

    async with service(nats_server, Orders) as system:
        await system.board.publish("orders.place")
        await eventually(lambda: done_with(js, Orders, "orders.place"))
        await eventually(lambda: len(runs) == 3)

    stored = [await js.get_msg("PLACED", sequence) for sequence in (1, 2, 3)]
    assert (await js.stream_info("PLACED")).state.messages == 3
    assert [message.data for message in stored] == [b"1", b"1", b"2"]


async def test_handler_past_its_timeout_is_cancelled_and_the_slot_goes_on(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    ended: list[str] = []

    class Orders(Actor):
        retry = ()
        timeout = 0.2

        @command("orders.place")
        async def place(self, how: str) -> None:
            try:
                if how not in {"quick", "cancel itself"}:
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                if how == "raise":
                    raise
                if how == "other":
                    raise ValueError("while cancelled") from None
            finally:
                ended.append(how)
            if how == "cancel itself":
                raise asyncio.CancelledError

    order = ["raise", "swallow", "other", "cancel itself", "raise", "quick"]
    async with service(nats_server, Orders) as system:
        for how in order:
            await system.board.publish("orders.place", how)
        await eventually(lambda: ended == order)
        await eventually(lambda: done_with(js, Orders, "orders.place"))

    kinds = [letter.headers["Callboard-Dead-Error-Type"] for letter in await dead_letters(js)]
    assert kinds == ["HandlerTimeoutError", "ValueError", "CancelledError", "HandlerTimeoutError"]


async def test_order_is_the_stream_order_with_one_slot(nats_server: EmbeddedServer) -> None:
    begun: list[int] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self, number: int) -> None:
            begun.append(number)
            await asyncio.sleep(0.002 * (number % 3))

    async with service(nats_server, Orders) as system:
        receipts = await asyncio.gather(*(system.board.publish("orders.place", number) for number in range(100)))
        await eventually(lambda: len(begun) == 100)

    assert begun == sorted(range(100), key=lambda number: receipts[number].sequence)


# Context


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
