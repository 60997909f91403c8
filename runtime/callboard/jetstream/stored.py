"""Messages as their stream keeps them."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

from attrs import frozen

from callboard.brokers.wire import headers_of

__all__ = ["StoredMessage", "nanoseconds"]


@frozen
class StoredMessage:
    """A message that was read by its place in a stream, without being delivered."""

    topic: str
    sequence: int
    headers: Mapping[str, str]
    body: bytes
    stored: int
    """Nanoseconds since 1970."""

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """From the answer of `STREAM.MSG.GET`."""
        headers = headers_of(b64decode(message.get("hdrs") or ""))
        body = b64decode(message.get("data") or "")
        return cls(message["subject"], message["seq"], headers, body, nanoseconds(message["time"]))


def nanoseconds(time: str) -> int:
    """Since 1970, of a time as the server writes it: `2026-01-31T12:00:00.123456789Z`, without zeros at the end."""
    seconds, _, fraction = time.removesuffix("Z").partition(".")
    whole = datetime.fromisoformat(seconds).replace(tzinfo=UTC)
    return int(whole.timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0"))
