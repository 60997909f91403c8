"""The one message type: a topic, a payload, and who wants to hear back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from typing import Any, cast
from uuid import UUID, uuid4

from attrs import frozen

from callboard.codec import JSON, Codec
from callboard.errors import MessageTypeError

__all__ = [
    "BrokerMessage",
    "BrokerMessageV1",
    "BrokerMessageV1Payload",
    "BrokerMessageV1Status",
    "BrokerMessageV1Strategy",
    "WireContent",
]


class BrokerMessageV1Status(IntEnum):
    """The named outcomes. Any other integer is carried as it is."""

    SUCCESS = 200
    ERROR = 400
    SYSTEM_ERROR = 500
    UNKNOWN = 600


class BrokerMessageV1Strategy(Enum):
    """Who should get a message. Carried and readable; the handler's kind decides what happens."""

    UNICAST = "unicast"
    MULTICAST = "multicast"


_STATUSES: dict[int, BrokerMessageV1Status] = {int(status): status for status in BrokerMessageV1Status}


@frozen
class WireContent:
    """Content as it arrived: bytes, decoded when somebody asks and straight into the type they want."""

    body: bytes
    codec: Codec

    def decode(self) -> Any:
        """Plain values. Raises `ContentDecodeError`."""
        return self.codec.decode(self.body) if self.body else None

    def loads(self, type_: Any) -> Any:
        """A value of `type_`. Raises `ContentDecodeError` with the path of what does not fit."""
        return self.codec.loads(self.body, type_) if self.body else self.codec.structure(None, type_)


_UNREAD: Any = object()


class BrokerMessageV1Payload:
    """Content, headers and status of a message.

    `content` is any value that a codec can carry, `headers` maps text to text, `status` is a number (default
    200). A received payload decodes its content at the first access and raises `ContentDecodeError` then.
    """

    __slots__ = ("_content", "_wire", "headers", "status")

    headers: dict[str, str]
    status: int

    def __init__(
        self,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
        *,
        wire: WireContent | None = None,
    ) -> None:
        self._content = content if wire is None else _UNREAD
        self._wire = wire
        self.headers = _checked_headers(headers)
        self.status = _checked_status(status)

    @property
    def content(self) -> Any:
        """The content as plain values, or as the object that the payload was made with."""
        if self._content is _UNREAD:
            self._content = cast("WireContent", self._wire).decode()
        return self._content

    def content_as(self, type_: Any) -> Any:
        """The content as `type_`, structured from the wire. Raises `ContentDecodeError` when it does not fit."""
        if self._wire is not None:
            return self._wire.loads(type_)
        return JSON.loads(JSON.encode(self._content), type_)

    @property
    def wire(self) -> WireContent | None:
        """The bytes that this payload was read from; None for one that was made here."""
        return self._wire

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status < 300

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BrokerMessageV1Payload):
            return NotImplemented
        return (self.content, self.headers, self.status) == (other.content, other.headers, other.status)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        content = "<unread>" if self._content is _UNREAD else repr(self._content)
        return f"BrokerMessageV1Payload({content}, headers={self.headers!r}, status={self.status!r})"


def _checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise MessageTypeError("headers", headers, "a mapping of text to text")
    for name, value in headers.items():
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise MessageTypeError("a header's name", name, "text")
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise MessageTypeError(f"header {name!r}", value, "text")
    return dict(headers)


def _checked_status(status: int | None) -> int:
    if status is None:
        return BrokerMessageV1Status.SUCCESS
    if not isinstance(status, int) or isinstance(status, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise MessageTypeError("status", status, "an integer such as 200")
    return _STATUSES.get(status, status)


class BrokerMessage(ABC):
    """What every version of a message offers."""

    __slots__ = ()

    topic: str
    reply_topic: str | None

    @property
    @abstractmethod
    def identifier(self) -> UUID:
        """What makes the message itself, in every copy and delivery of it."""

    @property
    @abstractmethod
    def version(self) -> int:
        """Number of the message format."""

    @property
    @abstractmethod
    def content(self) -> Any:
        """The content as plain values."""

    @abstractmethod
    def content_as(self, type_: Any) -> Any:
        """The content structured as `type_`. Raises `ContentDecodeError`."""

    @property
    @abstractmethod
    def headers(self) -> dict[str, str]:
        """The message's own headers, without the system's."""

    @property
    @abstractmethod
    def status(self) -> int:
        """Outcome number; 200 unless the message is an error reply."""

    @property
    @abstractmethod
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""

    @property
    def should_reply(self) -> bool:
        """Whether somebody wants a reply: `reply_topic` is a non-empty text."""
        return bool(self.reply_topic)

    @abstractmethod
    def set_reply_topic(self, value: str | None) -> None:
        """Say where the reply goes; None for nowhere."""


class BrokerMessageV1(BrokerMessage):
    """A message to a topic.

    `identifier` is a fresh UUID unless given, as one or as a function that is asked when somebody wants it; sending the
    same identifier to the same topic twice stores one message. Messages order by content; contents that cannot be
    compared leave the order as it is.
    """

    __slots__ = ("_identifier", "payload", "reply_topic", "strategy", "topic")

    payload: BrokerMessageV1Payload
    strategy: BrokerMessageV1Strategy

    def __init__(
        self,
        topic: str,
        payload: BrokerMessageV1Payload,
        *,
        identifier: UUID | Callable[[], UUID] | None = None,
        strategy: BrokerMessageV1Strategy | None = None,
        reply_topic: str | None = None,
    ) -> None:
        if not isinstance(topic, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise MessageTypeError("topic", topic, "text")
        if not isinstance(payload, BrokerMessageV1Payload):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise MessageTypeError("payload", payload, "a BrokerMessageV1Payload")
        if identifier is not None and not isinstance(identifier, UUID) and not callable(identifier):
            raise MessageTypeError("identifier", identifier, "a UUID")
        self.topic = topic
        self.payload = payload
        self._identifier = uuid4() if identifier is None else identifier
        self.strategy = BrokerMessageV1Strategy.UNICAST if strategy is None else BrokerMessageV1Strategy(strategy)
        self.set_reply_topic(reply_topic)

    @property
    def identifier(self) -> UUID:
        if not isinstance(self._identifier, UUID):
            self._identifier = self._identifier()
        return self._identifier

    @identifier.setter
    def identifier(self, value: UUID) -> None:
        self._identifier = value

    def set_reply_topic(self, value: str | None) -> None:
        if value is not None and not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise MessageTypeError("reply_topic", value, "text or None")
        self.reply_topic = value

    @property
    def version(self) -> int:
        return 1

    @property
    def content(self) -> Any:
        return self.payload.content

    def content_as(self, type_: Any) -> Any:
        return self.payload.content_as(type_)

    @property
    def headers(self) -> dict[str, str]:
        return self.payload.headers

    @property
    def status(self) -> int:
        return self.payload.status

    @property
    def ok(self) -> bool:
        return self.payload.ok

    def _facts(self) -> tuple[object, ...]:
        return (self.topic, self.identifier, self.reply_topic, self.strategy, self.payload)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BrokerMessageV1):
            return NotImplemented
        return self._facts() == other._facts()

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: BrokerMessage) -> bool:
        try:
            return bool(self.content < other.content)
        except TypeError:
            return False

    def __repr__(self) -> str:
        reply = f", reply_topic={self.reply_topic!r}" if self.reply_topic else ""
        return f"BrokerMessageV1({self.topic!r}, {self.payload!r}, identifier={str(self.identifier)!r}{reply})"
