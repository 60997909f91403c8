"""The message that is being handled here and now."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from callboard.brokers.delivery import BrokerDelivery

__all__ = ["CURRENT", "Current"]


class Current:
    """One attempt, as what it sends sees it."""

    __slots__ = ("_outputs", "actor", "attempt", "deadline", "delivery")

    def __init__(self, delivery: BrokerDelivery, deadline: datetime | None, actor: str = "", attempt: int = 1) -> None:
        self.delivery = delivery
        self.deadline = deadline
        self.actor = actor
        self.attempt = attempt
        self._outputs: dict[tuple[str, str], int] = {}

    def output_identifier(self, topic: str, body: bytes, headers: Mapping[str, str]) -> UUID:
        """The identifier of an output: derived from the durable, the incoming message, topic, content, headers, and
        how often that combination came. A repeated attempt sends the same ones, another message never does."""
        digest = hashlib.sha256(body)
        for name, value in sorted(headers.items()):
            digest.update(f"\0{name}\0{value}".encode())
        key = (topic, digest.hexdigest())
        count = self._outputs[key] = self._outputs.get(key, 0) + 1
        source = self.delivery
        return uuid5(
            NAMESPACE_URL,
            f"callboard:{source.durable}:{source.stream}:{source.sequence}:{source.identifier}:{topic}:{key[1]}:{count}",
        )


CURRENT: ContextVar[Current | None] = ContextVar("callboard_current", default=None)
