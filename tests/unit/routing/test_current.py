"""Identifiers of outputs: the same for a repeated attempt, never the same for another message."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from callboard import command
from callboard.brokers import wire
from callboard.brokers.delivery import BrokerDelivery
from callboard.client import Board
from callboard.routing.current import Current
from tests.unit.routing.bench import Bench
from tests.unit.routing.loopback import LoopbackTransport

IDENTIFIER = UUID(int=7)


class Seen(BrokerDelivery):
    """A delivery that nobody settles."""

    async def ack(self) -> None: ...
    async def nak(self, delay: float = 0.0) -> None: ...
    async def term(self, reason: str) -> None: ...
    async def in_progress(self) -> None: ...


@frozen
class Source:
    durable: str = "command-orders_place-00000000"
    stream: str = "ORDERS"
    sequence: int = 1
    identifier: UUID = IDENTIFIER

    def begin(self, delivered: int = 1) -> Current:
        """One attempt at the message."""
        delivery = Seen(
            "orders.place",
            {wire.IDENTIFIER: str(self.identifier)},
            b"",
            stream=self.stream,
            sequence=self.sequence,
            delivered=delivered,
            durable=self.durable,
            touched=0.0,
        )
        return Current(delivery, None)


Output = tuple[str, bytes, dict[str, str]]
texts = st.text(alphabet="ab", max_size=3)
outputs = st.tuples(st.sampled_from(["a.b", "a.c"]), st.binary(max_size=3), st.dictionaries(texts, texts, max_size=2))


def identifiers(current: Current, sent: list[Output]) -> list[UUID]:
    return [current.output_identifier(*output) for output in sent]


@given(st.lists(outputs, max_size=8))
def test_repeated_attempt_sends_the_same_identifiers(sent: list[Output]) -> None:
    assert identifiers(Source().begin(1), sent) == identifiers(Source().begin(2), sent)


@given(st.lists(outputs, min_size=1, max_size=8))
def test_outputs_of_one_attempt_never_share_an_identifier(sent: list[Output]) -> None:
    """How often the same output came counts too."""
    assert len(set(identifiers(Source().begin(), sent))) == len(sent)


@given(st.lists(outputs, max_size=8, unique_by=repr), st.randoms())
def test_order_of_different_outputs_does_not_matter(sent: list[Output], dice: random.Random) -> None:
    shuffled = dice.sample(sent, len(sent))

    assert set(identifiers(Source().begin(), sent)) == set(identifiers(Source().begin(), shuffled))


@pytest.mark.parametrize(
    "other",
    [
        evolve(Source(), durable="command-orders_other-00000000"),
        evolve(Source(), stream="OTHERS"),
        evolve(Source(), sequence=2),
        evolve(Source(), identifier=UUID(int=8)),
    ],
    ids=["durable", "stream", "sequence", "identifier"],
)
def test_another_message_never_sends_the_same_identifier(other: Source) -> None:
    output: Output = ("a.b", b"1", {})

    assert identifiers(Source().begin(), [output]) != identifiers(other.begin(), [output])


@pytest.mark.parametrize(
    "output",
    [("a.c", b"1", {"h": "v"}), ("a.b", b"2", {"h": "v"}), ("a.b", b"1", {"h": "w"}), ("a.b", b"1", {})],
    ids=["topic", "content", "header", "no header"],
)
def test_another_output_never_has_the_same_identifier(output: Output) -> None:
    assert identifiers(Source().begin(), [output]) != identifiers(Source().begin(), [("a.b", b"1", {"h": "v"})])


def test_order_of_headers_does_not_matter() -> None:
    one: Output = ("a.b", b"1", {"x": "1", "y": "2"})
    other: Output = ("a.b", b"1", {"y": "2", "x": "1"})

    assert identifiers(Source().begin(), [one]) == identifiers(Source().begin(), [other])


def publishing(board: Board, **options: Any) -> tuple[Callable[..., Any], list[int]]:
    attempts: list[int] = []

    @command("orders.place", retry=(0,))
    async def handle() -> None:
        attempts.append(1)
        await board.publish("orders.placed", 1, **options)
        await board.publish("orders.placed", 1, **options)
        if len(attempts) == 1:
            raise ValueError

    return handle, attempts


async def test_retried_handler_publishes_the_same_deduplication_ids(transport: LoopbackTransport) -> None:
    handle, _ = publishing(Board(transport))
    async with Bench(transport, handle):
        await transport.put("orders.place").ended()

    ids = [frame.headers[wire.MESSAGE_ID] for frame in transport.published]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2


async def test_identifier_that_the_handler_gives_is_kept(transport: LoopbackTransport) -> None:
    identifier = uuid4()
    handle, _ = publishing(Board(transport), identifier=identifier)
    async with Bench(transport, handle):
        await transport.put("orders.place").ended()

    assert {frame.headers[wire.IDENTIFIER] for frame in transport.published} == {str(identifier)}


async def test_published_from_outside_each_message_is_new(transport: LoopbackTransport) -> None:
    board = Board(transport)

    receipts = [await board.publish("orders.placed", 1) for _ in range(2)]

    assert receipts[0].identifier != receipts[1].identifier
