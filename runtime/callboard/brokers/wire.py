"""The wire format: the one place where a message becomes headers and bytes, and back.

Any NATS client can take part: a plain JSON body published to a topic is a complete message. Everything that
Callboard adds is a header whose name begins with `Callboard-` or `Nats-`; the rest are the message's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from attrs import define

from callboard.brokers.topic import check_reply_topic, check_topic
from callboard.codec import JSON, Codec, codec_for
from callboard.errors import ContentDecodeError, HeaderError, MessageTooLargeError
from callboard.instrumentation import TRACE_HEADERS
from callboard.message import (
    BrokerMessage,
    BrokerMessageV1,
    BrokerMessageV1Payload,
    BrokerMessageV1Strategy,
    WireContent,
)

__all__ = [
    "DEAD_LETTER_ROOM",
    "Frame",
    "check_headers",
    "check_size",
    "decode",
    "decode_payload",
    "encode",
    "encode_reply",
    "format_time",
    "header_block",
    "headers_of",
    "hops_of",
    "is_plain",
    "named_identifier",
    "own_headers",
    "parse_time",
    "system_header",
    "travelling",
    "uuid_header",
]

CONTENT_TYPE = "Content-Type"
MESSAGE_ID = "Nats-Msg-Id"
TTL = "Nats-TTL"
IDENTIFIER = "Callboard-Id"
REPLY_TOPIC = "Callboard-Reply-Topic"
REPLY_VIA = "Callboard-Reply-Via"
STATUS = "Callboard-Status"
STRATEGY = "Callboard-Strategy"
VERSION = "Callboard-Version"
DEADLINE = "Callboard-Deadline"
TARGET = "Callboard-Target"
HOPS = "Callboard-Hops"

KNOWN_VERSION = 1
DEAD_LETTER_ROOM = 8 * 1024
"""Bytes of the server's max_payload kept free for what a dead letter adds to a message."""

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 7230, token
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SYSTEM_NAMES = frozenset({"content-type", "xraceparent", *TRACE_HEADERS})
_SYSTEM_PREFIXES = ("nats-", "callboard-")

_PROTOCOL = "NATS/1.0"
_PLAIN = frozenset(
    {CONTENT_TYPE, VERSION, IDENTIFIER, MESSAGE_ID, REPLY_TOPIC, REPLY_VIA, DEADLINE, TTL, HOPS, *TRACE_HEADERS}
)
_OURS = str(KNOWN_VERSION)


@define
class Frame:
    """A message as it goes over the wire."""

    topic: str
    headers: dict[str, str]
    body: bytes

    @property
    def size(self) -> int:
        """Bytes of headers and body as the server counts them."""
        return len(header_block(self.headers)) + len(self.body)


def system_header(name: str) -> bool:
    """Whether a header belongs to the system: never taken from users, never copied on as theirs."""
    if name in _PLAIN:
        return True
    lower = name.lower()
    return lower in _SYSTEM_NAMES or lower.startswith(_SYSTEM_PREFIXES)


def own_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The message's own headers among all that arrived."""
    return {name: value for name, value in headers.items() if not system_header(name)}


def is_plain(headers: Mapping[str, str]) -> bool:
    """Whether all headers are the system's, and none of them changes what the content means."""
    return headers.keys() <= _PLAIN and headers.get(VERSION, _OURS) == _OURS


def check_headers(headers: Mapping[str, str], content_type: str) -> dict[str, str]:
    """The headers of a user as they can be sent.

    Raises `HeaderError` for a name that is no HTTP token or is the system's, and for a value that the server or
    nats-py would change (line breaks, control characters, outer white space, text that is no Unicode). A
    `content-type` equal to the codec's is accepted and left out: the system writes it.
    """
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if system_header(name):
            if name.lower() == "content-type" and value == content_type:
                continue
            raise HeaderError(name, "is written by the system; choose another name")
        if rule := _broken_rule(name, value):
            raise HeaderError(name, rule)
        checked[name] = value
    return checked


def travelling(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of a message's own headers that can be sent on: other clients may have sent what we would refuse."""
    return {name: value for name, value in headers.items() if not _broken_rule(name, value)}


def _broken_rule(name: str, value: str) -> str:
    """The rule that a header breaks; empty when it can be sent."""
    if not _HEADER_NAME.fullmatch(name):
        return "a name is made of letters, digits and !#$%&'*+-.^_`|~"
    if _CONTROL.search(value):
        return "a value has no line breaks or control characters"
    if value != value.strip():
        return "a value has no white space at its ends: the server would strip it"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "the value is not valid Unicode"
    return ""


def check_size(frame: Frame, max_payload: int) -> bytes:
    """The frame's headers as they are sent. Raises `MessageTooLargeError` when it leaves no room for a dead letter."""
    headers = header_block(frame.headers)
    size, limit = len(headers) + len(frame.body), max_payload - DEAD_LETTER_ROOM
    if size > limit:
        raise MessageTooLargeError(frame.topic, size, limit)
    return headers


def header_block(headers: Mapping[str, str]) -> bytes:
    """Headers as they are sent. Line breaks in a value, which would begin another header, become spaces."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    text = f"{_PROTOCOL}\r\n{''.join(lines)}\r\n"
    breaks = len(lines) + 2
    if text.count("\n") != breaks or text.count("\r") != breaks:
        return header_block({_one_line(name): _one_line(value) for name, value in headers.items()})
    return text.encode()


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")


def headers_of(block: bytes) -> dict[str, str]:
    """Headers as they arrived, by name: of one that stands twice the last. The status of a message from the server
    itself is in `Status`, the reason in `Description`. What is no header is left out; what is no UTF-8 is replaced."""
    first, *lines = block.decode(errors="replace").split("\r\n")
    headers: dict[str, str] = {}
    if len(first) > len(_PROTOCOL):
        status, _, description = first[len(_PROTOCOL) :].strip().partition(" ")
        headers["Status"] = status
        if description:
            headers["Description"] = description.strip()
    for line in lines:
        name, colon, value = line.partition(":")
        if name in _PLAIN:  # most of them
            headers[name] = value.strip()
        elif colon and name.isascii() and len(name.split()) == 1:
            headers[name.strip()] = value.strip()
    return headers


def encode(
    message: BrokerMessage,
    *,
    codec: Codec = JSON,
    carrier: Mapping[str, str] | None = None,
    system: Mapping[str, str] | None = None,
) -> Frame:
    """A message ready for the wire.

    `carrier` are the trace headers of the operation that sends it, `system` further system headers (reply route,
    deadline, another `Nats-Msg-Id`). Raises `TopicError`, `HeaderError` or `ContentEncodeError`.
    """
    topic = check_reply_topic(message.topic) if message.topic.startswith("_") else check_topic(message.topic)
    identifier = str(message.identifier)
    headers = _described(message.headers, codec, identifier, f"{identifier}:{topic}", message.status)
    if isinstance(message, BrokerMessageV1) and message.strategy is not BrokerMessageV1Strategy.UNICAST:
        headers[STRATEGY] = message.strategy.value
    if message.reply_topic:
        headers[REPLY_TOPIC] = check_reply_topic(message.reply_topic)
    if carrier:
        headers.update(carrier)
    if system:
        headers.update(system)
    return Frame(topic, headers, codec.encode(message.content))


def encode_reply(
    topic: str, content: object, headers: Mapping[str, str], status: int, identifier: str, message_id: str
) -> Frame:
    """An answer ready for the wire, without a message in between: `identifier` is the request's. Raises as `encode`."""
    sent = _described(headers, JSON, identifier, message_id, status)
    return Frame(check_reply_topic(topic), sent, JSON.encode(content))


def _described(own: Mapping[str, str], codec: Codec, identifier: str, message_id: str, status: int) -> dict[str, str]:
    """A message's own headers, and those that every message has."""
    headers = check_headers(own, codec.content_type)
    headers[CONTENT_TYPE] = codec.content_type
    headers[IDENTIFIER] = identifier
    headers[MESSAGE_ID] = message_id
    headers[VERSION] = _OURS
    if status != 200:
        headers[STATUS] = str(int(status))
    return headers


def decode(
    topic: str, headers: Mapping[str, str], body: bytes, identifier: UUID | Callable[[], UUID]
) -> BrokerMessageV1:
    """A message from the wire; its content is decoded when somebody asks.

    `identifier` stands in when the message names none; a function is asked for the identifier itself, when somebody
    wants it (deriving or parsing one costs 2 to 5 microseconds). Raises `ContentDecodeError` for a status or version
    that is no number, and for an unknown content type. A greater version is read as the newest known one.
    """
    payload = decode_payload(headers, body)
    if not headers:
        return BrokerMessageV1(topic, payload, identifier=identifier)
    return BrokerMessageV1(
        topic,
        payload,
        identifier=(named_identifier(headers) or identifier) if isinstance(identifier, UUID) else identifier,
        strategy=_strategy(headers),
        reply_topic=headers.get(REPLY_TOPIC),
    )


def decode_payload(headers: Mapping[str, str], body: bytes) -> BrokerMessageV1Payload:
    """What a message carries. Raises as `decode`."""
    if not headers:
        return BrokerMessageV1Payload(wire=WireContent(body, JSON))
    _number(headers, VERSION)
    return BrokerMessageV1Payload(
        headers=own_headers(headers),
        status=_number(headers, STATUS),
        wire=WireContent(body, codec_for(_content_type(headers))),
    )


def _number(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(name)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise ContentDecodeError(f"header {name} must be a number, not {value!r:.80}") from None


def _content_type(headers: Mapping[str, str]) -> str | None:
    """NATS tells headers apart by case, HTTP does not; other clients write this one as they like."""
    if (exact := headers.get(CONTENT_TYPE)) is not None:
        return exact
    return next((value for name, value in headers.items() if name.lower() == "content-type"), None)


def hops_of(headers: Mapping[str, str]) -> int:
    """How many handlers in a row sent a message, each while it handled the one before; 0 when nobody says."""
    said = headers.get(HOPS, "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0


def named_identifier(headers: Mapping[str, str]) -> UUID | None:
    """The identifier that a message names. One that is no UUID counts as absent: the message itself is still good."""
    return uuid_header(headers, IDENTIFIER)


def uuid_header(headers: Mapping[str, str], name: str) -> UUID | None:
    """A header as a UUID; None when it is absent or no UUID."""
    value = headers.get(name)
    if value is None:
        return None
    try:
        return UUID(value)
    except ValueError:
        return None


def _strategy(headers: Mapping[str, str]) -> BrokerMessageV1Strategy:
    multicast = headers.get(STRATEGY) == BrokerMessageV1Strategy.MULTICAST.value
    return BrokerMessageV1Strategy.MULTICAST if multicast else BrokerMessageV1Strategy.UNICAST


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")


def parse_time(text: str | None) -> datetime | None:
    """The moment that a header names; None when it is absent or unreadable."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
