"""The durable consumers that the code wants."""

from __future__ import annotations

from typing import Any

from callboard.brokers.mailbox import Kind, MailboxSpec, Order, Start
from callboard.brokers.topic import overlap
from callboard.jetstream.api import ConsumerInfo
from callboard.jetstream.stream import NANOSECONDS

__all__ = [
    "ACTOR",
    "KIND",
    "RECREATED",
    "SERVICE",
    "answers",
    "changes_of",
    "consumer_config",
    "first_start",
    "kind_of",
    "seen_before",
    "start_after",
]

MAX_ACK_PENDING = 100_000
"""Credit is ours; the server's limit only must not be in its way (delayed naks keep their place in it)."""
KIND, SERVICE, ACTOR = "callboard.kind", "callboard.service", "callboard.actor"
RECREATED = "callboard.recreated"
"""Metadata of a durable that was lost and made again: the stream's last message at that time. Up to there a message
may have been attempted before, whatever the server counts."""


def kind_of(consumer: ConsumerInfo) -> Kind | None:
    """What a consumer is for; None for one that is no mailbox of ours."""
    try:
        return Kind(consumer.metadata.get(KIND, ""))
    except ValueError:
        return None


def answers(consumer: ConsumerInfo, topic: str) -> bool:
    """Whether a request to `topic` finds somebody at this consumer who may answer."""
    kind = kind_of(consumer)
    return kind is not None and kind.answers and any(overlap(topics, topic) for topics in consumer.filters)


def seen_before(consumer: ConsumerInfo) -> int:
    """The last message that may have been attempted before this durable was made; 0 for one that was never lost."""
    noted = consumer.metadata.get(RECREATED, "")
    return int(noted) if noted.isdecimal() else 0


def consumer_config(spec: MailboxSpec) -> dict[str, Any]:
    """What the code names; everything else is the server's or the operator's."""
    filters = {"filter_subjects": list(spec.filters)} if spec.more else {"filter_subject": spec.template.filter}
    return {
        "name": spec.durable,
        "durable_name": spec.durable,
        **filters,
        "ack_policy": "explicit",
        "ack_wait": int(spec.ack_wait * NANOSECONDS),
        "max_deliver": -1,
        "max_ack_pending": 1 if spec.order is Order.STRICT else MAX_ACK_PENDING,
        "metadata": {KIND: spec.kind.value, SERVICE: spec.service, ACTOR: spec.actor},
    }


def first_start(spec: MailboxSpec) -> dict[str, Any]:
    """Where a durable begins that never was."""
    return {"deliver_policy": "all" if spec.start is Start.FIRST else "new"}


def start_after(sequence: int) -> dict[str, Any]:
    """Begin behind a message."""
    return {"deliver_policy": "by_start_sequence", "opt_start_seq": sequence + 1}


def changes_of(found: ConsumerInfo, spec: MailboxSpec) -> dict[str, tuple[Any, Any]]:
    """The fields that differ, each with what the server and what the code says."""
    wanted = consumer_config(spec)
    changes: dict[str, tuple[Any, Any]] = {}
    if found.config.get("deliver_subject"):
        changes["deliver_subject"] = (found.config["deliver_subject"], None)
    for field in ("ack_policy", "ack_wait", "max_deliver", "max_ack_pending"):
        if found.config.get(field) != wanted[field]:
            changes[field] = (found.config.get(field), wanted[field])
    if sorted(found.filters) != sorted(spec.filters):
        changes["filter"] = (", ".join(found.filters), ", ".join(spec.filters))
    for name, value in wanted["metadata"].items():
        if found.metadata.get(name) != value:
            changes[name] = (found.metadata.get(name), value)
    return changes
