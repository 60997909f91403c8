"""What those may rely on who ask, and what a handler knows of its message."""

# ruff: noqa: S101 - behaviours are tests

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any
from uuid import UUID, uuid4

import pytest

from callboard.brokers import wire
from callboard.client.board import Board
from callboard.context import REQUEST_HEADERS_CONTEXT_VAR, REQUEST_REPLY_TOPIC_CONTEXT_VAR, REQUEST_USER_CONTEXT_VAR
from callboard.errors import BrokerResponseException, RequestTimeoutError
from callboard.instrumentation import trace_headers
from callboard.routing.decorator import command
from callboard.routing.request import BrokerRequest
from callboard.testing.conformance.conformance import Conformance
from callboard.testing.conformance.step import (
    ANSWERS,
    PLACE,
    answers,
    contents,
    handling,
    message,
    put,
    receive,
    send,
    take,
)
from callboard.testing.conformance.system import STEP, Messaging
from callboard.testing.features import needs

__all__ = ["AnsweringConformance"]


_OWN: ContextVar[str] = ContextVar("callboard_conformance_own", default="")
"""A variable that only the handlers here know."""


class AnsweringConformance(Conformance):
    """Behaviours of a `BrokerHandler` towards those who wait for an answer, and of its context."""

    async def test_context_that_a_handler_sets_is_not_seen_by_the_next_message(self, messaging: Messaging) -> None:
        """S11. C35."""
        seen: list[Sequence[Any]] = []

        @command(PLACE)
        async def place(number: int) -> None:
            variables = (REQUEST_HEADERS_CONTEXT_VAR, REQUEST_REPLY_TOPIC_CONTEXT_VAR, REQUEST_USER_CONTEXT_VAR)
            seen.append([number, _OWN.get(), *(variable.get() for variable in variables)])
            _OWN.set("leaked")
            REQUEST_HEADERS_CONTEXT_VAR.set({"leaked": "yes"})
            REQUEST_REPLY_TOPIC_CONTEXT_VAR.set("leaked.topic")
            REQUEST_USER_CONTEXT_VAR.set(uuid4())

        async with handling(messaging.subscriber([PLACE]), place):
            await send(messaging, message(1, PLACE, headers={"tenant": "a"}, reply_topic=ANSWERS))
            await messaging.until(lambda: len(seen) == 1)
            await send(messaging, message(2, PLACE))
            await messaging.until(lambda: len(seen) == 2)
        assert seen == [[1, "", {"tenant": "a"}, ANSWERS, None], [2, "", {}, None, None]]

    async def test_request_is_answered_once_with_its_identifier_and_headers(self, messaging: Messaging) -> None:
        """C29. C30. C34. C35."""
        user = uuid4()
        users: list[UUID | None] = []

        @command(PLACE)
        async def place(request: BrokerRequest) -> str:
            users.append(request.user)
            REQUEST_HEADERS_CONTEXT_VAR.set({**request.headers, "added": "yes"})
            return f"tea for {await request.content()}"

        sent = message("two", PLACE, headers={"user": str(user)}, reply_topic=ANSWERS)
        async with answers(messaging) as answered, handling(messaging.subscriber([PLACE]), place):
            await send(messaging, message("nobody", PLACE), sent, message("last", PLACE, reply_topic=ANSWERS))
            first, last = sorted(await receive(answered, 2), key=lambda answer: answer.content == "tea for last")
        assert (first.identifier, first.topic, first.reply_topic) == (sent.identifier, ANSWERS, None)
        assert (first.content, first.status) == ("tea for two", 200)
        assert first.headers == {"user": str(user), "added": "yes"}
        assert last.content == "tea for last"
        assert sorted(users, key=str) == sorted([None, user, None], key=str)

    @pytest.mark.parametrize(
        ("content", "status", "type_"),
        [
            ("refuse", 409, "BrokerResponseException"),
            ("fail", 500, "KeyError"),
            ("unserialisable", 500, "ContentEncodeError"),
            (["no", "text"], 400, "ContentDecodeError"),
        ],
    )
    async def test_failed_request_is_answered_with_the_reason(
        self, messaging: Messaging, content: object, status: int, type_: str
    ) -> None:
        """C32. S10."""

        @command(PLACE, retry=(), failures={TypeError: "reject"})
        async def place(what: str) -> object:
            if what == "refuse":
                raise BrokerResponseException("no seats left", status=409)
            if what == "fail":
                raise KeyError("secret")
            return object()

        async with answers(messaging) as answered, handling(messaging.subscriber([PLACE]), place):
            await send(messaging, message(content, PLACE, reply_topic=ANSWERS))
            [answer] = await receive(answered, 1)
        error = answer.content["error"]
        assert (answer.status, error["type"]) == (status, type_)
        assert "secret" not in str(answer.content)
        assert error["message"]

    async def test_topic_without_a_handler_is_answered_with_404(self, messaging: Messaging) -> None:
        """S10."""

        @command(PLACE)
        async def place() -> None: ...

        async with answers(messaging) as answered, handling(messaging.subscriber([PLACE, "orders.cancel"]), place):
            await send(messaging, message(1, "orders.cancel", reply_topic=ANSWERS))
            [answer] = await receive(answered, 1)
        assert (answer.status, answer.content["error"]["type"]) == (404, "ActionNotFoundError")

    async def test_malformed_user_is_nobody_and_is_answered(self, messaging: Messaging) -> None:
        """S10. C34."""

        @command(PLACE)
        async def place(request: BrokerRequest) -> str:
            return str(request.user)

        async with answers(messaging) as answered, handling(messaging.subscriber([PLACE]), place):
            await send(messaging, message(1, PLACE, headers={"user": "me"}, reply_topic=ANSWERS))
            assert await contents(answered, 1) == ["None"]

    async def test_trace_goes_on_in_what_is_published_and_in_the_reply(self, messaging: Messaging) -> None:
        """S18."""
        trace = "0af7651916cd43dd8448eb211c80319c"
        headers = {
            "traceparent": f"00-{trace}-b7ad6b7169203331-01",
            "tracestate": "vendor=value",
            wire.REPLY_TOPIC: ANSWERS,
        }
        async with messaging.publisher() as publisher:

            @command(PLACE)
            async def place() -> None:
                await publisher.send(message(1, "out.put"))

            async with (
                answers(messaging) as answered,
                messaging.subscriber(["out.put"]) as outputs,
                handling(messaging.subscriber([PLACE]), place),
            ):
                await put(messaging, PLACE, b"1", headers)
                carried = [trace_headers((await take(each)).headers) for each in (outputs, answered)]
        assert [each["traceparent"].split("-")[1] for each in carried] == [trace, trace]
        assert [each["tracestate"] for each in carried] == ["vendor=value", "vendor=value"]

    @needs("private_replies")
    async def test_callers_get_their_own_answers_and_a_late_one_reaches_nobody(self, messaging: Messaging) -> None:
        """S08."""
        gates = {word: asyncio.Event() for word in ("first", "second", "late")}

        @command(PLACE)
        async def place(word: str) -> str:
            await gates[word].wait()
            return word

        async with (
            handling(messaging.subscriber([PLACE]), place, concurrency=3),
            messaging.transport() as transport,
        ):
            board = Board(transport)
            asked_late = asyncio.create_task(board.request(PLACE, "late", timeout=10 * STEP))
            await messaging.advance(11 * STEP)
            with pytest.raises(RequestTimeoutError):
                await asked_late
            first, second = (asyncio.create_task(board.request(PLACE, word)) for word in ("first", "second"))
            for word in ("late", "second", "first"):
                gates[word].set()
                await messaging.advance(STEP)
            assert (await first, await second) == ("first", "second")
