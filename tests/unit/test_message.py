"""Messages (C01-C04, C07, C08 and the values that C05 and C06 rest on)."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from callboard import (
    JSON,
    MSGPACK,
    BrokerMessageV1,
    BrokerMessageV1Payload,
    BrokerMessageV1Status,
    BrokerMessageV1Strategy,
)
from callboard.brokers import wire
from callboard.codec import Codec
from callboard.errors import ContentDecodeError, MessageTypeError
from callboard.message import WireContent


class Cabin(Enum):
    FIRST = "first"


@frozen
class Order:
    item: str
    count: int
    cabin: Cabin
    number: UUID


ORDER = Order("tea", 2, Cabin.FIRST, uuid4())


def message(content: Any = None, **options: Any) -> BrokerMessageV1:
    return BrokerMessageV1("orders.place", BrokerMessageV1Payload(content), **options)


def test_message_of_topic_and_payload_has_these_defaults() -> None:
    """C01."""
    made = message(1)

    assert isinstance(made.identifier, UUID)
    assert (made.reply_topic, made.should_reply) == (None, False)
    assert (made.strategy, made.version) == (BrokerMessageV1Strategy.UNICAST, 1)
    assert (made.status, made.headers, made.ok) == (200, {}, True)


def test_each_message_has_an_identifier_of_its_own() -> None:
    """C01."""
    assert message().identifier != message().identifier


def test_reply_topic_makes_a_message_want_a_reply() -> None:
    """C02."""
    made = message(reply_topic="orders.answers")
    wants = [made.should_reply]
    for reply_topic in (None, "orders.answers"):
        made.set_reply_topic(reply_topic)
        wants.append(made.should_reply)

    assert wants == [True, False, True]


def test_empty_reply_topic_wants_no_reply() -> None:
    """C02."""
    assert not message(reply_topic="").should_reply


@pytest.mark.parametrize(
    ("number", "status", "ok"),
    [
        (200, BrokerMessageV1Status.SUCCESS, True),
        (400, BrokerMessageV1Status.ERROR, False),
        (500, BrokerMessageV1Status.SYSTEM_ERROR, False),
        (600, BrokerMessageV1Status.UNKNOWN, False),
    ],
)
def test_named_status_is_its_member(number: int, status: BrokerMessageV1Status, *, ok: bool) -> None:
    """C03."""
    payload = BrokerMessageV1Payload(status=number)

    assert payload.status is status
    assert payload.ok is ok


@pytest.mark.parametrize(("number", "ok"), [(199, False), (201, True), (299, True), (300, False), (404, False)])
def test_other_status_keeps_its_number(number: int, *, ok: bool) -> None:
    """S12."""
    payload = BrokerMessageV1Payload(status=number)

    assert (payload.status, payload.ok) == (number, ok)


PAYLOAD = BrokerMessageV1Payload()
odd: Any = object()


@pytest.mark.parametrize(
    ("construct", "part"),
    [
        (lambda: BrokerMessageV1(odd, PAYLOAD), "topic"),
        (lambda: BrokerMessageV1("a", odd), "payload"),
        (lambda: BrokerMessageV1("a", PAYLOAD, identifier=odd), "identifier"),
        (lambda: BrokerMessageV1("a", PAYLOAD, reply_topic=odd), "reply_topic"),
        (lambda: BrokerMessageV1Payload(headers={"user": odd}), "header 'user'"),
        (lambda: BrokerMessageV1Payload(headers={odd: "x"}), "a header's name"),
        (lambda: BrokerMessageV1Payload(headers=odd), "headers"),
        (lambda: BrokerMessageV1Payload(status=odd), "status"),
    ],
    ids=["topic", "payload", "identifier", "reply topic", "header", "header's name", "headers", "status"],
)
def test_wrong_type_is_refused_by_the_name_of_the_part(construct: Callable[[], object], part: str) -> None:
    """C04."""
    with pytest.raises(MessageTypeError) as raised:
        construct()

    assert raised.value.part == part
    assert isinstance(raised.value, TypeError)


def test_truth_is_no_status() -> None:
    """C04."""
    with pytest.raises(MessageTypeError):
        BrokerMessageV1Payload(status=True)


def test_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError):
        BrokerMessageV1("a", PAYLOAD, priority=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_headers_are_a_copy() -> None:
    headers = {"tenant": "a"}
    payload = BrokerMessageV1Payload(headers=headers)
    headers["tenant"] = "b"

    assert payload.headers == {"tenant": "a"}


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)
def test_typed_content_is_read_from_the_wire_in_its_type(codec: Codec) -> None:
    """C05; the codec's own tests go through all types."""
    frame = wire.encode(message(ORDER), codec=codec)

    assert wire.decode(frame.topic, frame.headers, frame.body, uuid4()).content_as(Order) == ORDER


def test_content_as_gives_the_same_before_and_after_the_wire() -> None:
    """C05."""
    made = message(ORDER)
    frame = wire.encode(made)
    received = wire.decode(frame.topic, frame.headers, frame.body, uuid4())

    assert made.content_as(Order) == received.content_as(Order)
    assert made.content_as(dict[str, Any]) == received.content_as(dict[str, Any])


def test_received_content_is_not_decoded_before_somebody_asks() -> None:
    payload = BrokerMessageV1Payload(wire=WireContent(b"{", JSON))

    assert "<unread>" in repr(payload)
    with pytest.raises(ContentDecodeError):
        _ = payload.content


def test_received_message_keeps_a_number_that_it_does_not_know() -> None:
    """C06: also in test_wire."""
    assert wire.decode("a", {"Callboard-Version": "99"}, b"1", uuid4()).version == 1


def test_messages_sort_by_content() -> None:
    """C07."""
    assert [made.content for made in sorted(message(content) for content in (3, 1, 2))] == [1, 2, 3]


@given(st.lists(st.none() | st.integers() | st.text() | st.lists(st.integers(), max_size=1), max_size=6), st.randoms())
def test_sorting_contents_that_cannot_be_compared_never_raises(contents: list[Any], dice: random.Random) -> None:
    """C07."""
    dice.shuffle(contents)

    assert len(sorted(message(content) for content in contents)) == len(contents)


def test_message_and_payload_read_the_same() -> None:
    """C08."""
    payload = BrokerMessageV1Payload({"a": 1}, {"tenant": "a"}, 404)
    made = BrokerMessageV1("a", payload)

    assert made.content == payload.content == {"a": 1}
    assert made.headers == payload.headers == {"tenant": "a"}
    assert made.status == payload.status == 404
    assert made.ok is payload.ok is False


@pytest.mark.parametrize(
    "other",
    [
        {"identifier": uuid4()},
        {"reply_topic": "orders.answers"},
        {"strategy": BrokerMessageV1Strategy.MULTICAST},
        {"content": 2},
    ],
    ids=lambda options: next(iter(options)),
)
def test_messages_that_differ_in_one_part_are_not_equal(other: dict[str, Any]) -> None:
    same = {"content": 1, "identifier": ORDER.number}

    assert message(**same) == message(**same)
    assert message(**same) != message(**{**same, **other})


def test_repr_shows_topic_content_and_identifier() -> None:
    shown = repr(message({"item": "tea"}, identifier=ORDER.number))

    assert all(part in shown for part in ("orders.place", "tea", str(ORDER.number)))
