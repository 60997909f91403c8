"""One hand-over of one message, with its settlement: the contract between every transport and the handler loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar
from uuid import NAMESPACE_URL, UUID, uuid5

from callboard.brokers import wire
from callboard.message import BrokerMessageV1

__all__ = ["BrokerDelivery", "WrappedBrokerDelivery"]

_NOTHING: Mapping[str, str] = {}


class BrokerDelivery(ABC):
    """A message that a mailbox handed over.

    Exactly one of `ack`, `nak` and `term` settles it; a second settlement does nothing. Settling is a
    notification: it returns once it is on its way, behind all that was sent before, and a lost one means another
    delivery of the same message.
    Messages decode lazily: `message` may raise `ContentDecodeError`.
    """

    __slots__ = (
        "_identifier",
        "_message",
        "body",
        "delivered",
        "duplicate",
        "durable",
        "headers",
        "repeated",
        "sequence",
        "settled",
        "stored",
        "stream",
        "topic",
        "touched",
    )

    topic: str
    headers: Mapping[str, str]
    """All headers as they arrived."""
    body: bytes
    stream: str
    sequence: int
    """Position in the stream."""
    stored: int
    """When its stream stored it, in nanoseconds since 1970; 0 where nobody says. A stream that is deleted and made
    again counts from 1: sequence and time together tell its messages from the former ones."""
    delivered: int
    """How often this message was handed over, this time included."""
    durable: str
    """Name of the mailbox's durable consumer."""
    repeated: bool
    """Whether it may have been attempted before."""
    duplicate: bool
    """Whether it is not admitted because a copy was handled before."""
    touched: float
    """Loop time at which the lease was last known to be fresh."""
    settled: bool

    def __init__(  # noqa: PLR0913, PLR0917 - the facts of a delivery
        self,
        topic: str,
        headers: Mapping[str, str] | None,
        body: bytes,
        stream: str,
        sequence: int,
        delivered: int,
        durable: str,
        touched: float,
        stored: int = 0,
    ) -> None:
        self.topic = topic
        self.headers = headers or _NOTHING
        self.body = body
        self.stream = stream
        self.sequence = sequence
        self.stored = stored
        self.delivered = delivered
        self.durable = durable
        self.touched = touched
        self.repeated = delivered > 1
        self.settled = False
        self.duplicate = False
        self._message: BrokerMessageV1 | None = None
        self._identifier: UUID | None = None

    @property
    def message(self) -> BrokerMessageV1:
        """The message. Raises `ContentDecodeError` when its headers make no sense."""
        if self._message is None:
            self._message = wire.decode(self.topic, self.headers, self.body, self._identify)
        return self._message

    @property
    def identifier(self) -> UUID:
        """The message's identifier, also when the message itself cannot be read. One that names none has the same
        for every delivery, derived from its stream, its sequence and the time when it was stored."""
        return self._identify()

    def _identify(self) -> UUID:
        if self._identifier is None:
            named = wire.named_identifier(self.headers) if self.headers else None
            self._identifier = named or uuid5(NAMESPACE_URL, f"callboard:{self.stream}:{self.sequence}:{self.stored}")
        return self._identifier

    @property
    def body_size(self) -> int:
        """Bytes of the body."""
        return len(self.body)

    @property
    def log_fields(self) -> dict[str, str]:
        """`extra` of a log record about it, for code that runs outside its handler."""
        return {"topic": self.topic, "identifier": str(self.identifier)}

    @property
    def is_misdirected(self) -> bool:
        """Whether it is the replay of a message that another mailbox gave up: to be acknowledged unhandled."""
        return bool(self.headers) and self.headers.get(wire.TARGET, self.durable) != self.durable

    @property
    def token(self) -> str:
        """What leads to this delivery from another process (`BrokerTransport.recover`); empty where nothing does."""
        return ""

    is_filtered: ClassVar[bool] = False
    """Whether `admit` may say no."""

    async def admit(self) -> bool:
        """Whether this delivery is to be handled: asked once, before it is. What a filter does not admit is
        acknowledged unhandled."""
        return True

    @abstractmethod
    async def ack(self) -> None:
        """Done: never deliver it again."""

    @abstractmethod
    async def nak(self, delay: float = 0.0) -> None:
        """Deliver it again, not before `delay` seconds."""

    @abstractmethod
    async def term(self, reason: str) -> None:
        """Given up: never deliver it again. Only after a dead letter is safely stored, or by declared policy."""

    @abstractmethod
    async def in_progress(self) -> None:
        """Still at work: renew the lease."""


class WrappedBrokerDelivery(BrokerDelivery):
    """A delivery that stands before another one, to have a say in how it is settled."""

    __slots__ = ("inner",)

    def __init__(self, inner: BrokerDelivery) -> None:
        super().__init__(
            inner.topic,
            inner.headers,
            inner.body,
            stream=inner.stream,
            sequence=inner.sequence,
            delivered=inner.delivered,
            durable=inner.durable,
            touched=inner.touched,
            stored=inner.stored,
        )
        self.inner = inner
        self.repeated = inner.repeated

    async def in_progress(self) -> None:
        if not self.settled:
            await self.inner.in_progress()
            self.touched = self.inner.touched
