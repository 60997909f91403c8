"""What a mailbox is, before any transport makes one."""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum

from attrs import field, frozen

from callboard.brokers.topic import TopicTemplate

__all__ = ["Kind", "MailboxSpec", "Order", "Start"]


class Kind(StrEnum):
    """What a handler is for; it decides who gets a message.

    `COMMAND` and `QUERY` are unicast: one service gets each message. `EVENT` is multicast: each actor of each
    service gets each message once.
    """

    COMMAND = "command"
    QUERY = "query"
    EVENT = "event"

    @property
    def unicast(self) -> bool:
        """Whether one durable serves everyone."""
        return self is not Kind.EVENT


class Start(StrEnum):
    """Where a mailbox begins when its durable is created; never compared afterwards."""

    FIRST = "first"
    NEW = "new"


class Order(StrEnum):
    """`STREAM`: first attempts begin in stream order in each process. `STRICT`: one message in the whole service
    at a time, retried in place."""

    STREAM = "stream"
    STRICT = "strict"


@frozen
class MailboxSpec:
    """One handler's mailbox."""

    kind: Kind
    template: TopicTemplate
    service: str
    actor: str
    concurrency: int | None = None
    """At most so many of its messages at once in each process; None for the actor's."""
    ack_wait: float = 30.0
    """Seconds until the server hands a message to somebody else when its holder is silent."""
    start: Start = Start.FIRST
    order: Order = Order.STREAM
    renamed_from: str | None = field(default=None, eq=False)
    """The actor's former name, whose durable is taken over."""

    @property
    def key(self) -> str:
        """What makes this mailbox itself: kind and topic filter, and for events the service and the actor."""
        return self._key(self.actor)

    def _key(self, actor: str) -> str:
        parts = [self.kind.value, self.template.filter]
        return "|".join(parts if self.kind.unicast else [*parts, self.service, actor])

    @property
    def durable(self) -> str:
        """Name of the durable: a readable prefix and 8 hexadecimal digits of the key's hash."""
        return self._durable(self.actor)

    def _durable(self, actor: str) -> str:
        owner = "" if self.kind.unicast else f"{self.service}-{actor}-"
        readable = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{self.kind.value}-{owner}{self.template.filter}").rstrip("_")
        return f"{readable[:80]}-{hashlib.sha256(self._key(actor).encode()).hexdigest()[:8]}"

    @property
    def former_durable(self) -> str | None:
        """The durable to take over, when the actor had another name."""
        return self._durable(self.renamed_from) if self.renamed_from else None
