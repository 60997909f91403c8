"""Dead letters are read, replayed and discarded alike on every transport."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

import pytest

from callboard import Actor, Supervisor, command, event
from callboard.brokers.deadletter import DeadLetter
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.letter import BODY, HEADERS, LetterFilter, StoredLetter
from callboard.brokers.mailbox import Kind, MailboxSpec
from callboard.brokers.topic import TopicTemplate
from callboard.brokers.transport import BrokerTransport, Topology
from callboard.brokers.wire import Frame
from callboard.client import Board, DeadLetterReplay
from callboard.errors import ConnectionLostError, InvalidArgumentError, NoDeadLetterError, ReplayRefusedError
from callboard.system import System
from tests.contract.conftest import Connect
from tests.jetstream.eventually import eventually

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
IDENTIFIER = "6f1f8a50-4a0e-4f5c-9d52-3a0d1b0a7c11"


class Orders(Actor):
    """Fails until it is well."""

    retry: ClassVar[tuple[float, ...]] = ()
    well = False
    seen: ClassVar[list[Any]] = []

    @event("orders.placed")
    async def placed(self, number: Any) -> None:
        Orders.seen.append(number)
        if not Orders.well:
            raise ValueError(f"no nuts for {number}\nnor bolts")

    @command("orders.place")
    async def place(self, number: int) -> int:
        return number


class Stock(Actor):
    """Hears the same and never fails."""

    seen: ClassVar[list[Any]] = []

    @event("orders.placed")
    async def placed(self, number: Any) -> None:
        Stock.seen.append(number)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Orders.well = False
    Orders.seen, Stock.seen = [], []


@asynccontextmanager
async def shop(connect: Connect, *actors: type) -> AsyncGenerator[tuple[System, BrokerTransport]]:
    """A service, and a transport as an operator has it."""
    async with connect() as transport, System(Supervisor(actors), name="shop", transport=connect(), grace=5.0) as it:
        yield it, transport


@asynccontextmanager
async def prepared(connect: Connect) -> AsyncGenerator[BrokerTransport]:
    """A transport on a message system that keeps dead letters, and nothing else yet."""
    async with connect() as transport:
        await transport.prepare(Topology((), ["orders.placed"]))
        yield transport


async def letters(transport: BrokerTransport) -> list[StoredLetter]:
    return [letter async for letter in transport.dead_letters.letters()]


async def has_letters(transport: BrokerTransport, count: int) -> bool:
    return len(await letters(transport)) == count


class GivenUp(BrokerDelivery):
    """A delivery that somebody gave up long ago."""

    async def ack(self) -> None: ...
    async def nak(self, delay: float = 0.0) -> None: ...
    async def term(self, reason: str) -> None: ...
    async def in_progress(self) -> None: ...


def given_up(
    number: int = 1, *, topic: str = "orders.placed", headers: dict[str, str] | None = None, durable: str = "d"
) -> GivenUp:
    body = b"%d" % number
    return GivenUp(topic, headers, body, stream="ORDERS", sequence=number, delivered=1, durable=durable, touched=0.0)


async def put(
    transport: BrokerTransport, delivery: BrokerDelivery, error: BaseException | None = None, **facts: Any
) -> None:
    letter = DeadLetter.of(delivery, error or ValueError("no"), 1, facts.pop("at", NOW), **facts)
    await transport.dead_letters.put(letter, {})


# reading


async def test_letter_gives_back_the_original_byte_for_byte_with_the_reason(connect: Connect) -> None:
    sent = {"Callboard-Id": IDENTIFIER, "shelf": "äöü 3", "X-Empty": "", "traceparent": TRACE}
    async with shop(connect, Orders) as (_, transport):
        receipt = await transport.publish(Frame("orders.placed", sent, b'"nut\\u0041 "  '))
        await eventually(lambda: has_letters(transport, 1))
        [listed] = await letters(transport)
        letter = await transport.dead_letters.get(listed.sequence)

    assert letter == listed
    assert (letter.topic, letter.headers, letter.body) == ("orders.placed", sent, b'"nut\\u0041 "  ')
    assert (letter.stream, letter.stream_sequence) == ("ORDERS", receipt.sequence)
    assert letter.durable.startswith("event-shop-Orders-orders_placed-")
    assert letter.identifier == UUID(IDENTIFIER)
    assert (letter.error_type, letter.error_message) == ("ValueError", "no nuts for nutA \nnor bolts")
    assert "in placed" in letter.traceback
    assert letter.attempts == 1
    assert abs(letter.at - datetime.now(UTC)) < timedelta(minutes=5)
    assert letter.trace_id == TRACE.split("-")[1]
    assert letter.left_out == frozenset()


async def test_letter_of_a_message_without_headers_has_the_identifier_that_its_handler_saw(connect: Connect) -> None:
    async with prepared(connect) as transport:
        delivery = given_up(7)
        await put(transport, delivery)
        [letter] = await letters(transport)

    assert (letter.headers, letter.identifier) == ({}, delivery.identifier)


async def test_headers_that_cannot_be_sent_are_kept_in_the_letter_all_the_same(connect: Connect) -> None:
    hostile = {"no token": "a", "a@b": "c", "": "d", "lines": "1\r\n2", "edges": " x ", "lone": "\udc80", "fine": "y"}
    async with prepared(connect) as transport:
        await put(transport, given_up(headers=hostile), ValueError("\udc80 in the text"))
        [letter] = await letters(transport)

    assert letter.headers == hostile | {"lone": "?"}
    assert letter.error_message == "? in the text"


async def test_queue_with_any_name_may_give_a_message_up(connect: Connect) -> None:
    async with prepared(connect) as transport:
        await put(transport, given_up(durable="my outbox > all.*"))
        [letter] = await letters(transport)
        with pytest.raises(ReplayRefusedError, match=r"no durable 'my outbox > all\.\*'"):
            await DeadLetterReplay(transport).replay(letter.sequence)

    assert letter.durable == "my outbox > all.*"


async def test_headers_that_are_too_large_for_a_letter_are_read_from_the_original(connect: Connect) -> None:
    large = {f"header-{number}": "x" * 1005 for number in range(64)} | {"small": "y"}
    async with shop(connect, Orders, Stock) as (_, transport):
        await transport.publish(Frame("orders.placed", large, b"1"))
        await eventually(lambda: has_letters(transport, 1))
        [listed] = await letters(transport)
        whole = await transport.dead_letters.get(listed.sequence)

    assert listed.left_out == {HEADERS}
    assert listed.headers["small"] == "y"
    assert 50 < len(listed.headers) < len(large)
    assert (whole.headers, whole.body, whole.left_out) == (large, b"1", frozenset())


async def test_what_is_left_out_is_not_taken_from_another_message(connect: Connect) -> None:
    large = {f"header-{number}": "x" * 1005 for number in range(64)}
    async with prepared(connect) as transport:
        receipt = await transport.publish(Frame("orders.placed", large, b"2"))
        await put(transport, given_up(1, headers=large))
        [letter] = await letters(transport)
        with pytest.raises(ReplayRefusedError, match="headers of the original were too large"):
            await DeadLetterReplay(transport).replay(letter.sequence)

    assert receipt.sequence == letter.stream_sequence
    assert letter.left_out == {HEADERS}
    assert BODY not in letter.left_out


async def test_letters_that_come_while_they_are_listed_are_not_listed(connect: Connect) -> None:
    """Or replaying what fails again at once would never end."""
    async with prepared(connect) as transport:
        await asyncio.gather(*(put(transport, given_up(number)) for number in range(1, 251)))
        seen: list[int] = []
        async for letter in transport.dead_letters.letters():
            seen.append(letter.sequence)
            if len(seen) < 10:
                await put(transport, given_up(1000 + letter.sequence))

    assert seen == list(range(1, 251))


async def test_ten_thousand_letters_are_listed_in_order_without_those_that_were_removed(connect: Connect) -> None:
    async with prepared(connect) as transport:
        for start in range(1, 10_001, 500):
            await asyncio.gather(*(put(transport, given_up(number)) for number in range(start, start + 500)))
        assert all([await transport.dead_letters.remove(number) for number in range(2_000, 2_400)])
        loop = asyncio.get_running_loop()
        begun = loop.time()
        found = [letter.sequence async for letter in transport.dead_letters.letters()]
        seconds = loop.time() - begun

    assert found == [*range(1, 2_000), *range(2_400, 10_001)]
    assert seconds < 20


async def test_letter_is_removed_once(connect: Connect) -> None:
    async with prepared(connect) as transport:
        await put(transport, given_up(1))
        await put(transport, given_up(2))

        assert await transport.dead_letters.remove(1)
        assert not await transport.dead_letters.remove(1)
        assert not await transport.dead_letters.remove(99)
        assert [letter.sequence for letter in await letters(transport)] == [2]
        with pytest.raises(NoDeadLetterError, match="no dead letter 1 "):
            await transport.dead_letters.get(1)


async def test_filters_choose_by_actor_error_topic_durable_and_age(connect: Connect) -> None:
    async with prepared(connect) as transport:
        await put(transport, given_up(1, durable="one"), KeyError("a"), actor="Orders", at=NOW)
        await put(transport, given_up(2, durable="two"), actor="Stock", at=NOW + timedelta(hours=1))
        await put(transport, given_up(3, topic="stock.count", durable="two"), at=NOW + timedelta(hours=2))
        stored = await letters(transport)

    def chosen(**wanted: Any) -> list[int]:
        return [letter.sequence for letter in stored if LetterFilter(**wanted).matches(letter)]

    assert chosen() == [1, 2, 3]
    assert chosen(actor="Orders") == [1]
    assert chosen(error="ValueError") == [2, 3]
    assert chosen(topic="orders.>") == [1, 2]
    assert chosen(durable="two") == [2, 3]
    assert chosen(before=NOW + timedelta(hours=2)) == [1, 2]
    assert chosen(after=NOW) == [2, 3]
    assert chosen(error="ValueError", actor="Stock", before=NOW) == []


# replaying


async def test_replay_of_an_event_runs_in_the_actor_that_failed_and_in_no_other(connect: Connect) -> None:
    async with shop(connect, Orders, Stock) as (system, transport):
        await system.board.publish("orders.placed", 1)
        await eventually(lambda: has_letters(transport, 1))
        Orders.well = True
        receipt = await DeadLetterReplay(transport).replay(1)
        await system.board.publish("orders.placed", 2)
        await eventually(lambda: Orders.seen[-1:] == [2] and Stock.seen[-1:] == [2])
        left = await letters(transport)

    assert (receipt.topic, receipt.stream, receipt.duplicate) == ("orders.placed", "ORDERS", False)
    assert Orders.seen == [1, 1, 2]
    assert Stock.seen == [1, 2]
    assert left == []


async def test_replay_that_fails_again_is_a_letter_again_and_can_be_replayed_again(connect: Connect) -> None:
    async with shop(connect, Orders, Stock) as (system, transport):
        sent = await system.board.publish("orders.placed", 1, headers={"shelf": "3"})
        await eventually(lambda: has_letters(transport, 1))
        await DeadLetterReplay(transport).replay(1)
        await eventually(lambda: Orders.seen == [1, 1])
        await eventually(lambda: has_letters(transport, 1))
        [again] = await letters(transport)
        Orders.well = True
        await DeadLetterReplay(transport).replay(again.sequence)
        await eventually(lambda: Orders.seen == [1, 1, 1])

    assert again.sequence == 2
    assert str(again.identifier) == sent.identifier
    assert again.headers["shelf"] == "3"
    assert Stock.seen == [1]


async def test_replay_interrupted_before_the_letter_was_removed_is_handled_once(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(sequence: int) -> bool:
        raise ConnectionLostError("server", "killed")

    async with shop(connect, Orders) as (system, transport):
        await system.board.publish("orders.placed", 1)
        await eventually(lambda: has_letters(transport, 1))
        Orders.well = True
        with monkeypatch.context() as patch:
            patch.setattr(transport.dead_letters, "remove", lost)
            with pytest.raises(ConnectionLostError):
                await DeadLetterReplay(transport).replay(1)
        assert await has_letters(transport, 1)
        again = await DeadLetterReplay(transport).replay(1)
        await system.board.publish("orders.placed", 2)
        await eventually(lambda: Orders.seen[-1:] == [2])
        assert await has_letters(transport, 0)

    assert again.duplicate
    assert Orders.seen == [1, 1, 2]


async def test_letter_that_two_replay_at_once_is_handled_once(connect: Connect) -> None:
    async with shop(connect, Orders) as (system, transport), connect() as other:
        await system.board.publish("orders.placed", 1)
        await eventually(lambda: has_letters(transport, 1))
        Orders.well = True
        outcomes = await asyncio.gather(
            DeadLetterReplay(transport).replay(1), DeadLetterReplay(other).replay(1), return_exceptions=True
        )
        await system.board.publish("orders.placed", 2)
        await eventually(lambda: Orders.seen[-1:] == [2])

    assert all(isinstance(it, NoDeadLetterError) for it in outcomes if isinstance(it, BaseException))
    assert Orders.seen == [1, 1, 2]


async def test_replay_of_a_letter_that_is_gone_says_so(connect: Connect) -> None:
    async with prepared(connect) as transport:
        with pytest.raises(NoDeadLetterError, match="no dead letter 5 .*callboard dead list"):
            await DeadLetterReplay(transport).replay(5)


async def test_replay_to_a_mailbox_that_is_gone_is_refused_and_the_letter_stays(connect: Connect) -> None:
    spec = MailboxSpec(Kind.EVENT, TopicTemplate.parse("orders.placed"), service="shop", actor="Orders")
    async with prepared(connect) as transport:
        await transport.prepare(Topology([spec], ()))
        await put(transport, given_up(durable=spec.durable))
        assert (await DeadLetterReplay(transport).check(1)).durable == spec.durable
        await transport.remove([spec])
        with pytest.raises(ReplayRefusedError, match=f"no durable '{spec.durable}'.*callboard run") as refused:
            await DeadLetterReplay(transport).replay(1)
        assert await has_letters(transport, 1)

    assert refused.value.sequence == 1


async def test_replay_to_a_mailbox_that_takes_other_topics_is_refused(connect: Connect) -> None:
    spec = MailboxSpec(Kind.EVENT, TopicTemplate.parse("orders.placed"), service="shop", actor="Orders")
    async with prepared(connect) as transport:
        await transport.prepare(Topology([spec], ()))
        await put(transport, given_up(topic="orders.cancelled", durable=spec.durable))
        with pytest.raises(ReplayRefusedError, match="takes 'orders.cancelled'"):
            await DeadLetterReplay(transport).replay(1)


async def test_replay_answers_nobody_unless_it_is_asked_to(connect: Connect) -> None:
    class Asked(Actor):
        retry = ()
        well = False

        @command("stock.count")
        async def count(self) -> int:
            if not Asked.well:
                raise ValueError("miscounted")
            return 5

    class Asking(Actor):
        answers: ClassVar[list[Any]] = []

        @command("answers.here")
        async def answer(self, content: Any) -> None:
            Asking.answers.append(content)

    async with shop(connect, Asked, Asking) as (system, transport):
        for _ in range(2):
            await system.board.publish("stock.count", reply_topic="answers.here")
        await eventually(lambda: has_letters(transport, 2))
        await eventually(lambda: len(Asking.answers) == 2)
        Asked.well = True
        await DeadLetterReplay(transport).replay(1)
        await DeadLetterReplay(transport, reply=True).replay(2)
        await eventually(lambda: len(Asking.answers) == 3)
        assert await system.board.request("stock.count", returns=int) == 5

    assert [json.dumps(answer)[:9] for answer in Asking.answers] == ['{"error":', '{"error":', "5"]


async def test_rate_bounds_how_fast_replays_begin(connect: Connect) -> None:
    async with shop(connect, Orders) as (system, transport):
        for number in range(5):
            await Board(transport).publish("orders.placed", number)
        await eventually(lambda: has_letters(transport, 5))
        Orders.well = True
        replaying = DeadLetterReplay(transport, rate=20.0)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for letter in await letters(transport):
            await replaying.replay(letter.sequence)
        seconds = loop.time() - begun
        await eventually(lambda: len(Orders.seen) == 10)

    assert system is not None
    assert seconds >= 4 / 20


def test_rate_is_more_than_nothing() -> None:
    from callboard.brokers.memory import InMemoryTransport  # noqa: PLC0415

    with pytest.raises(InvalidArgumentError, match="rate"):
        DeadLetterReplay(InMemoryTransport(), rate=0)
