"""What a mailbox is, before any transport makes one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum

from attrs import evolve, field, frozen

from callboard.brokers.topic import TopicTemplate, covers, overlap
from callboard.errors import TopicError

__all__ = ["Kind", "MailboxSpec", "Order", "Start", "group_mailboxes"]


class Kind(StrEnum):
    """What a mailbox is for; it decides who gets a message.

    `COMMAND` and `QUERY` are unicast: one service gets each message. `EVENT` is multicast: each actor of each
    service gets each message once. `GROUP` belongs to a subscriber without handlers: each group gets each message once.
    """

    COMMAND = "command"
    QUERY = "query"
    EVENT = "event"
    GROUP = "group"

    @property
    def unicast(self) -> bool:
        """Whether one durable serves everyone, and one service owns it."""
        return self in {Kind.COMMAND, Kind.QUERY}

    @property
    def answers(self) -> bool:
        """Whether a request finds somebody here who may answer."""
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
    """One handler's mailbox, or a group's on one stream."""

    kind: Kind
    template: TopicTemplate
    service: str
    """Name of the service, or of the group."""
    actor: str
    concurrency: int | None = None
    """At most so many of its messages at once in each process; None for the actor's."""
    ack_wait: float = 30.0
    """Seconds until the server hands a message to somebody else when its holder is silent."""
    start: Start = Start.FIRST
    order: Order = Order.STREAM
    renamed_from: str | None = field(default=None, eq=False)
    """The actor's former name, whose durable is taken over."""
    more: tuple[TopicTemplate, ...] = ()
    """Further topics of a group; none overlaps with another."""

    @property
    def filters(self) -> tuple[str, ...]:
        """The topic filters, at least one."""
        return (self.template.filter, *(template.filter for template in self.more))

    @property
    def key(self) -> str:
        """What makes this mailbox itself: kind and topic filter, for events also the service and the actor; for a
        group its name and the topics' first token, so that it stays the same when its topics change."""
        return self._key(self.actor)

    def _key(self, actor: str) -> str:
        if self.kind is Kind.GROUP:
            return f"{self.kind.value}|{self.service}|{self.template.tokens[0]}"
        parts = [self.kind.value, self.template.filter]
        return "|".join(parts if self.kind.unicast else [*parts, self.service, actor])

    @property
    def durable(self) -> str:
        """Name of the durable: a readable prefix and 8 hexadecimal digits of the key's hash."""
        return self._durable(self.actor)

    def _durable(self, actor: str) -> str:
        key = self._key(actor)
        if self.kind is Kind.GROUP:
            name = key.replace("|", "-")
        else:
            owner = "" if self.kind.unicast else f"{self.service}-{actor}-"
            name = f"{self.kind.value}-{owner}{self.template.filter}"
        readable = re.sub(r"[^A-Za-z0-9_-]+", "_", name).rstrip("_")
        return f"{readable[:80]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"

    @property
    def former_durable(self) -> str | None:
        """The durable to take over, when the actor had another name."""
        return self._durable(self.renamed_from) if self.renamed_from else None


def group_mailboxes(topics: Iterable[str], group: str, *, ack_wait: float = 30.0) -> list[MailboxSpec]:
    """The mailboxes of a subscriber to several topics: one for each first token, that is for each stream.

    A topic that another one covers adds nothing. Raises `TopicError` for one that is none, for two that overlap in
    part (no durable can have both), and when there are none.
    """
    templates = [TopicTemplate.parse(topic) for topic in sorted(set(topics))]
    if not templates:
        raise TopicError("", "a subscriber needs at least one topic")
    streams: dict[str, list[TopicTemplate]] = {}
    for template in templates:
        streams.setdefault(template.tokens[0], []).append(template)
    return [evolve(_group_mailbox(mine, group), ack_wait=ack_wait) for mine in streams.values()]


def _group_mailbox(templates: list[TopicTemplate], group: str) -> MailboxSpec:
    by_filter = {template.filter: template for template in templates}
    widest = [
        template
        for topics, template in by_filter.items()
        if not any(other != topics and covers(other, topics) for other in by_filter)
    ]
    for position, one in enumerate(widest):
        for other in widest[position + 1 :]:
            if overlap(one.filter, other.filter):
                raise TopicError(
                    one.text, f"overlaps in part with {other.text!r}; subscribe to one topic that covers both"
                )
    return MailboxSpec(Kind.GROUP, widest[0], service=group, actor="", more=tuple(widest[1:]))
