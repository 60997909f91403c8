"""Messages as their stream keeps them."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Self

from attrs import frozen

__all__ = ["StoredMessage"]


@frozen
class StoredMessage:
    """A message that was read by its place in a stream, without being delivered."""

    topic: str
    sequence: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """From the answer of `STREAM.MSG.GET`, with the headers that nats-py would read: of one that stands twice the
        last counts, and one without a name, or with white space in it, does not."""
        lines = b64decode(message.get("hdrs") or "").decode(errors="replace").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if ":" in line)
        headers = {name: value.strip() for name, _, value in pairs if name and not re.search(r"\s", name)}
        return cls(message["subject"], message["seq"], headers, b64decode(message.get("data") or ""))
