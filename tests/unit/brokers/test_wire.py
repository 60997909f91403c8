"""The wire format: what is written, what is read back, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard import JSON, MSGPACK, BrokerMessageV1, BrokerMessageV1Payload, BrokerMessageV1Strategy
from callboard.brokers import wire
from callboard.codec import Codec
from callboard.errors import ContentDecodeError, ContentEncodeError, HeaderError, MessageTooLargeError, TopicError

IDENTIFIER = UUID("3d1c4e43-0f3c-4d7b-9a0e-000000000001")
DERIVED = UUID(int=1)


def message(content: Any = None, headers: dict[str, str] | None = None, **options: Any) -> BrokerMessageV1:
    status = options.pop("status", None)
    options.setdefault("identifier", IDENTIFIER)
    return BrokerMessageV1("orders.place", BrokerMessageV1Payload(content, headers, status), **options)


def read(frame: wire.Frame) -> BrokerMessageV1:
    return wire.decode(frame.topic, frame.headers, frame.body, DERIVED)


def test_plain_message_has_these_headers_and_no_others() -> None:
    frame = wire.encode(message({"item": "tea"}))

    assert frame.headers == {
        "Content-Type": "application/json",
        "Callboard-Id": str(IDENTIFIER),
        "Nats-Msg-Id": f"{IDENTIFIER}:orders.place",
        "Callboard-Version": "1",
    }
    assert (frame.topic, frame.body) == ("orders.place", b'{"item":"tea"}')


def test_everything_else_has_a_header_of_its_own() -> None:
    sent = message(status=404, strategy=BrokerMessageV1Strategy.MULTICAST, reply_topic="_INBOX.x")

    frame = wire.encode(sent, carrier={"traceparent": "00-1"}, system={wire.DEADLINE: "then"})

    assert frame.headers["Callboard-Status"] == "404"
    assert frame.headers["Callboard-Strategy"] == "multicast"
    assert frame.headers["Callboard-Reply-Topic"] == "_INBOX.x"
    assert frame.headers["traceparent"] == "00-1"
    assert frame.headers["Callboard-Deadline"] == "then"


header_names = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True).filter(
    lambda name: not wire.system_header(name)
)
header_values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)
@given(
    content=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    headers=st.dictionaries(header_names, header_values, max_size=3),
    identifier=st.uuids(),
    status=st.integers(100, 999),
    strategy=st.sampled_from(BrokerMessageV1Strategy),
    reply_topic=st.sampled_from([None, "_INBOX.x", "orders.answers"]),
)
def test_message_that_is_read_equals_the_one_that_was_written(codec: Codec, **parts: Any) -> None:
    """C05, S12."""
    sent = message(**parts)

    received = read(wire.encode(sent, codec=codec))

    assert received == sent
    assert type(received.status) is type(sent.status)


def test_message_that_is_sent_on_has_no_system_headers_of_the_first() -> None:
    first = wire.encode(message(headers={"tenant": "a"}, reply_topic="_INBOX.x"), carrier={"traceparent": "00-1"})

    assert read(first).headers == {"tenant": "a"}


HOSTILE = {
    "line break": ("x", "a\r\nNats-Rollup: all"),
    "line feed": ("x", "a\nb"),
    "null": ("x", "a\x00b"),
    "tab": ("x", "a\tb"),
    "leading space": ("x", " a"),
    "trailing space": ("x", "a "),
    "wide space": ("x", "a\u00a0"),
    "invalid Unicode": ("x", "\ud800"),
    "empty name": ("", "a"),
    "colon in the name": ("x: y", "a"),
    "line break in the name": ("x\r\ny", "a"),
    "space in the name": ("x y", "a"),
    "name beyond ASCII": ("größe", "a"),
}


@pytest.mark.parametrize(("name", "value"), HOSTILE.values(), ids=HOSTILE)
def test_header_that_the_server_would_change_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(HeaderError) as raised:
        wire.encode(message(headers={name: value}))

    assert raised.value.name == name


@pytest.mark.parametrize(
    "name",
    [
        "Nats-Msg-Id",
        "nats-ttl",
        "NATS-ROLLUP",
        "Callboard-Id",
        "callboard-target",
        "CALLBOARD-ANYTHING",
        "Content-Type",
        "content-type",
        "traceparent",
        "Traceparent",
        "TRACESTATE",
        "Baggage",
    ],
)
def test_name_of_the_system_is_refused_in_any_case(name: str) -> None:
    with pytest.raises(HeaderError, match="written by the system"):
        wire.encode(message(headers={name: "x"}))


def test_content_type_of_the_codec_is_accepted_and_written_once() -> None:
    frame = wire.encode(message(headers={"content-type": "application/json"}))

    assert [name for name in frame.headers if name.lower() == "content-type"] == ["Content-Type"]


@pytest.mark.parametrize(("name", "value"), HOSTILE.values(), ids=HOSTILE)
def test_what_could_not_be_sent_does_not_travel(name: str, value: str) -> None:
    assert wire.travelling({name: value, "tenant": "a"}) == {"tenant": "a"}


def test_names_that_only_look_like_the_systems_are_the_users() -> None:
    headers = {"natsmsg": "a", "callboards-id": "b", "X-Traceparent": "c"}

    assert read(wire.encode(message(headers=headers))).headers == headers


def test_size_counts_headers_as_the_server_does() -> None:
    frame = wire.Frame("a", {"x": "ä"}, b"body")

    assert frame.size == len(b"NATS/1.0\r\n" + "x: ä\r\n".encode() + b"\r\n" + b"body")


def test_room_for_a_dead_letter_is_kept_free() -> None:
    frame = wire.Frame("a", {}, bytes(1000))

    wire.check_size(frame, frame.size + wire.DEAD_LETTER_ROOM)
    with pytest.raises(MessageTooLargeError) as raised:
        wire.check_size(frame, frame.size + wire.DEAD_LETTER_ROOM - 1)

    assert (raised.value.size, raised.value.limit) == (frame.size, frame.size - 1)


def test_large_header_counts_like_a_large_body() -> None:
    frame = wire.encode(message(headers={"x": "a" * 65536}))

    with pytest.raises(MessageTooLargeError):
        wire.check_size(frame, 65536)


@pytest.mark.parametrize("topic", ["orders..place", "$JS.API.INFO", "orders.*", "_callboard dead"])
def test_impossible_topic_is_refused(topic: str) -> None:
    with pytest.raises(TopicError):
        wire.encode(BrokerMessageV1(topic, BrokerMessageV1Payload()))


def test_reply_may_go_to_an_inbox() -> None:
    assert wire.encode(BrokerMessageV1("_INBOX.x", BrokerMessageV1Payload())).topic == "_INBOX.x"


@pytest.mark.parametrize("reply_topic", ["$JS.API.STREAM.DELETE.X", "orders.*", "a b"])
def test_impossible_reply_topic_is_refused(reply_topic: str) -> None:
    with pytest.raises(TopicError):
        wire.encode(message(reply_topic=reply_topic))


def test_content_that_no_codec_carries_is_refused() -> None:
    with pytest.raises(ContentEncodeError):
        wire.encode(message(object()))


def test_bare_json_body_is_a_complete_message() -> None:
    received = wire.decode("orders.place", {}, b'{"item":"tea"}', DERIVED)

    assert received == BrokerMessageV1("orders.place", BrokerMessageV1Payload({"item": "tea"}), identifier=DERIVED)


def test_empty_body_is_none() -> None:
    assert wire.decode("orders.place", {}, b"", DERIVED).content is None


def test_greater_version_is_read_as_the_newest_known() -> None:
    """C06."""
    assert wire.decode("a", {"Callboard-Version": "7"}, b"1", DERIVED).version == 1


@pytest.mark.parametrize("header", ["Callboard-Version", "Callboard-Status"])
@pytest.mark.parametrize("value", ["", "one", "1.5", "9" * 5000])
def test_header_that_is_no_number_is_a_decode_error_that_names_it(header: str, value: str) -> None:
    with pytest.raises(ContentDecodeError, match=header):
        wire.decode("a", {header: value}, b"1", DERIVED)


def test_unknown_content_type_is_a_decode_error_that_names_it() -> None:
    with pytest.raises(ContentDecodeError, match="application/pickle"):
        wire.decode("a", {"Content-Type": "application/pickle"}, b"1", DERIVED)


def test_malformed_body_is_a_decode_error_when_somebody_reads_it() -> None:
    received = wire.decode("a", {}, b"{", DERIVED)

    with pytest.raises(ContentDecodeError):
        _ = received.content


@pytest.mark.parametrize("value", ["", "7", "not-a-uuid", "{}"])
def test_identifier_that_is_no_uuid_counts_as_absent(value: str) -> None:
    assert wire.decode("a", {"Callboard-Id": value}, b"1", DERIVED).identifier == DERIVED


def test_unknown_strategy_is_unicast() -> None:
    assert wire.decode("a", {"Callboard-Strategy": "broadcast"}, b"1", DERIVED).strategy.value == "unicast"


def test_time_is_written_in_utc_and_read_back() -> None:
    moment = datetime(2024, 5, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))

    assert wire.format_time(moment) == "2024-05-01T10:30:00Z"
    assert wire.parse_time(wire.format_time(moment)) == moment


@pytest.mark.parametrize("text", [None, "", "soon", "2024-13-01"])
def test_unreadable_time_is_no_time(text: str | None) -> None:
    assert wire.parse_time(text) is None


def test_time_without_zone_is_utc() -> None:
    assert wire.parse_time("2024-05-01T10:30:00") == datetime(2024, 5, 1, 10, 30, tzinfo=UTC)


def test_same_message_has_the_same_deduplication_id_on_one_topic_only() -> None:
    identifier = uuid4()
    ids = {
        wire.encode(BrokerMessageV1(topic, BrokerMessageV1Payload(), identifier=identifier)).headers["Nats-Msg-Id"]
        for topic in ("a.b", "a.b", "a.c")
    }

    assert len(ids) == 2


@pytest.mark.parametrize("name", ["content-type", "Content-type", "CONTENT-TYPE"])
def test_content_type_of_other_clients_counts_in_any_case(name: str) -> None:
    body = MSGPACK.encode({"item": "tea"})
    assert wire.decode("orders.placed", {name: "application/msgpack"}, body, uuid4()).content == {"item": "tea"}
