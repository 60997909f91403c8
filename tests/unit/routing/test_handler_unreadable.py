"""The handler loop and messages that nobody can handle: the caller hears why, and a dead letter is kept (S10)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from callboard import BrokerResponseException, command
from callboard.brokers import wire
from callboard.client import Board
from tests.unit.routing.bench import INBOX, Bench, error_of
from tests.unit.routing.loopback import LoopbackTransport


def read(frame: wire.Frame) -> Any:
    return wire.decode(frame.topic, frame.headers, frame.body, uuid4())


@command("orders.place", retry=())
async def echo(content: Any) -> Any:
    return content


async def test_unknown_topic_is_answered_404_and_dead_lettered(transport: LoopbackTransport) -> None:
    """S10."""
    transport.listen("elsewhere", lambda topic: topic == "orders.lost")
    async with Bench(transport, echo) as bench:
        mailbox = transport.listen("elsewhere", bool)
        mailbox.lane = bench.subscriber.intake.lane(None, mailbox.refill)
        await transport.put("orders.lost", reply_topic=INBOX).ended()

    assert error_of(transport.replies[0])["status"] == 404
    assert transport.journal == ["dead letter 1", f"send {INBOX}", "term 1"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Callboard-Status": "many"}, b"1"),
        ({"Content-Type": "text/csv"}, b"1"),
        ({}, b"{"),
        ({"Callboard-Id": "not a UUID"}, b'"text"'),
    ],
    ids=["status", "content type", "body", "content"],
)
async def test_unreadable_message_is_answered_400_at_once(
    transport: LoopbackTransport, headers: dict[str, str], body: bytes
) -> None:
    """S10."""

    @command("orders.place")
    async def handle(content: int) -> int:
        return content

    async with Bench(transport, handle):
        frame = wire.Frame("orders.place", {**headers, wire.REPLY_TOPIC: INBOX}, body)
        await transport.put_frame(frame).ended()

    assert error_of(transport.replies[0])["status"] == 400
    assert transport.journal == ["dead letter 1", f"send {INBOX}", "term 1"]


@pytest.mark.parametrize("headers", [{"user": "nobody"}, {"X-Odd": "a\tb"}, {"X@Odd": "a"}])
@pytest.mark.parametrize("status", [200, 409])
async def test_odd_header_of_a_foreign_client_does_not_cost_the_answer(
    transport: LoopbackTransport, headers: dict[str, str], status: int
) -> None:
    """S10."""

    @command("orders.place")
    async def handle() -> None:
        if status != 200:
            raise BrokerResponseException(status=status)

    async with Bench(transport, handle):
        await transport.put_frame(wire.Frame("orders.place", {**headers, wire.REPLY_TOPIC: INBOX}, b"1")).ended()

    assert [read(frame).status for frame in transport.replies] == [status]


async def test_odd_header_of_a_foreign_client_does_not_stop_what_the_handler_publishes(
    transport: LoopbackTransport,
) -> None:
    board = Board(transport)

    @command("orders.place", retry=())
    async def handle() -> None:
        await board.publish("orders.placed")

    async with Bench(transport, handle):
        await transport.put_frame(wire.Frame("orders.place", {"X-Odd": "a\tb", "tenant": "a"}, b"1")).ended()

    [frame] = transport.published
    assert wire.own_headers(frame.headers) == {"tenant": "a"}


async def test_result_that_cannot_be_serialised_is_answered_500_without_retry(transport: LoopbackTransport) -> None:
    """S10."""

    @command("orders.place")
    async def handle() -> object:
        return object()

    async with Bench(transport, handle):
        await transport.put("orders.place", reply_topic=INBOX).ended()

    assert error_of(transport.replies[0])["type"] == "ContentEncodeError"
    assert transport.journal == ["dead letter 1", f"send {INBOX}", "term 1"]
