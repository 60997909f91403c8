"""The handler loop: what is replied, in which order things happen, and who is not asked at all."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from callboard import BrokerResponse, BrokerResponseException, command
from callboard.brokers import wire
from callboard.client import Board
from tests.unit.routing.bench import INBOX, Bench, durable_of, error_of
from tests.unit.routing.loopback import LoopbackTransport


def read(frame: wire.Frame) -> Any:
    return wire.decode(frame.topic, frame.headers, frame.body, uuid4())


@command("orders.place", retry=())
async def echo(content: Any) -> Any:
    return content


async def test_reply_has_the_requests_identifier_and_headers_and_no_reply_topic(transport: LoopbackTransport) -> None:
    """C29."""
    identifier = uuid4()
    async with Bench(transport, echo):
        entry = transport.put("orders.place", 7, headers={"tenant": "a"}, reply_topic=INBOX, identifier=identifier)
        await entry.ended()

    [reply] = [read(frame) for frame in transport.replies]
    assert (reply.topic, reply.identifier, reply.reply_topic) == (INBOX, identifier, None)
    assert (reply.content, reply.status, reply.headers) == (7, 200, {"tenant": "a"})


async def test_nothing_is_replied_to_a_message_without_reply_topic(transport: LoopbackTransport) -> None:
    """C30."""
    async with Bench(transport, echo):
        await transport.put("orders.place", 7).ended()

    assert transport.journal == ["ack 1"]


@pytest.mark.parametrize("answer", [None, BrokerResponse()], ids=["none", "empty response"])
async def test_answer_without_content_replies_none_with_status_200(transport: LoopbackTransport, answer: Any) -> None:
    """C31."""

    @command("orders.place")
    async def handle() -> Any:
        return answer

    async with Bench(transport, handle):
        await transport.put("orders.place", 7, reply_topic=INBOX).ended()

    [reply] = [read(frame) for frame in transport.replies]
    assert (reply.content, reply.status) == (None, 200)


async def test_response_decides_status_and_adds_its_headers(transport: LoopbackTransport) -> None:
    @command("orders.place")
    async def handle() -> BrokerResponse:
        return BrokerResponse(1, status=201, headers={"etag": "x"})

    async with Bench(transport, handle):
        await transport.put("orders.place", headers={"tenant": "a"}, reply_topic=INBOX).ended()

    [reply] = [read(frame) for frame in transport.replies]
    assert (reply.status, reply.headers) == (201, {"tenant": "a", "etag": "x"})


async def test_refusal_is_replied_with_its_status_and_acked(transport: LoopbackTransport) -> None:
    """C32."""

    @command("orders.place")
    async def handle() -> None:
        raise BrokerResponseException("no seats left", status=409)

    async with Bench(transport, handle):
        await transport.put("orders.place", reply_topic=INBOX).ended()

    assert transport.journal == [f"send {INBOX}", "ack 1"]
    assert error_of(transport.replies[0]) == {
        "status": 409,
        "type": "BrokerResponseException",
        "message": "no seats left",
        "retryable": False,
    }


async def test_failure_is_replied_with_500_that_gives_nothing_away(transport: LoopbackTransport) -> None:
    """C32."""

    @command("orders.place", retry=())
    async def handle() -> None:
        raise KeyError("password")

    async with Bench(transport, handle):
        await transport.put("orders.place", reply_topic=INBOX).ended()

    error = error_of(transport.replies[0])
    assert (error["status"], error["type"]) == (500, "KeyError")
    assert "password" not in error["message"]


async def test_plain_and_async_handlers_give_equal_replies(transport: LoopbackTransport) -> None:
    """C33."""

    @command("orders.plain")
    def plain(content: int) -> int:
        return content + 1

    @command("orders.async")
    async def asynchronous(content: int) -> int:
        return content + 1

    async with Bench(transport, plain, asynchronous):
        for topic in ("orders.plain", "orders.async"):
            await transport.put(topic, 1, reply_topic=INBOX).ended()

    assert [read(frame).content for frame in transport.replies] == [2, 2]


async def test_outputs_come_before_the_reply_and_the_reply_before_the_ack(transport: LoopbackTransport) -> None:
    board = Board(transport)

    @command("orders.place")
    async def handle() -> None:
        await board.publish("orders.placed")

    async with Bench(transport, handle):
        await transport.put("orders.place", reply_topic=INBOX).ended()

    assert transport.journal == ["publish orders.placed", f"send {INBOX}", "ack 1"]


async def test_reply_to_a_topic_goes_through_its_stream_under_an_id_of_its_own(transport: LoopbackTransport) -> None:
    async with Bench(transport, echo):
        await transport.put("orders.place", reply_topic="orders.answers").ended()

    [frame] = transport.published
    assert frame.topic == "orders.answers"
    assert frame.headers[wire.MESSAGE_ID] == f"reply:{durable_of(echo)}:LOOPBACK:1:{frame.headers[wire.IDENTIFIER]}"


@pytest.mark.parametrize(("via", "line"), [("core", "send a.b"), ("stream", f"publish {INBOX}")])
async def test_requester_says_how_it_listens(transport: LoopbackTransport, via: str, line: str) -> None:
    async with Bench(transport, echo):
        reply_topic = line.split()[1]
        await transport.put("orders.place", reply_topic=reply_topic, system={wire.REPLY_VIA: via}).ended()

    assert transport.journal == [line, "ack 1"]


async def test_reply_that_cannot_be_delivered_is_dead_lettered_and_the_handler_not_run_again(
    transport: LoopbackTransport,
) -> None:
    transport.refused.add("orders.answers")
    async with Bench(transport, echo):
        entry = transport.put("orders.place", reply_topic="orders.answers")
        await entry.ended()

    assert transport.journal == ["dead letter 1", "ack 1"]
    assert entry.delivered == 1


async def test_reply_topic_of_the_system_is_dead_lettered_instead_of_published(transport: LoopbackTransport) -> None:
    async with Bench(transport, echo):
        await transport.put_frame(wire.Frame("orders.place", {wire.REPLY_TOPIC: "$SYS.x"}, b"1")).ended()

    assert transport.journal == ["dead letter 1", "ack 1"]
    assert transport.letters[0].error_type == "TopicError"


async def test_error_reply_carries_the_requests_headers_too(transport: LoopbackTransport) -> None:
    @command("orders.place")
    async def handle() -> None:
        raise BrokerResponseException

    async with Bench(transport, handle):
        await transport.put("orders.place", headers={"tenant": "a"}, reply_topic=INBOX).ended()

    assert read(transport.replies[0]).headers == {"tenant": "a"}


async def test_replay_for_another_durable_is_acked_unrun(transport: LoopbackTransport) -> None:
    async with Bench(transport, echo):
        await transport.put("orders.place", reply_topic=INBOX, system={wire.TARGET: "event-other-1234abcd"}).ended()

    assert transport.journal == ["ack 1"]


async def test_replay_for_this_durable_is_run(transport: LoopbackTransport) -> None:
    async with Bench(transport, echo):
        await transport.put("orders.place", 7, reply_topic=INBOX, system={wire.TARGET: durable_of(echo)}).ended()

    assert read(transport.replies[0]).content == 7
