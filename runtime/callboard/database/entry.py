"""An entry as a row of the table, and back."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from sqlalchemy import RowMapping

from callboard.brokers.queue.queue import Origin, QueueEntry
from callboard.brokers.wire import Frame
from callboard.errors import InvalidArgumentError

__all__ = ["check_key", "entry_of", "row_of"]

MESSAGE_ID = "Nats-Msg-Id"
LONGEST = 1024
"""Bytes of a key or message id: what an index of PostgreSQL holds."""


def check_key(key: str | None) -> None:
    """Raises `InvalidArgumentError` for a key that not every database can keep."""
    if key is not None and (_storable(key) != key or len(key.encode()) > LONGEST):
        raise InvalidArgumentError(
            f"key {key!r:.100}: a key is text without NUL characters, of at most {LONGEST} bytes in UTF-8"
        )


def row_of(frame: Frame, *, key: str | None, origin: Origin | None) -> dict[str, Any]:
    """The columns that a message fills."""
    return {
        "key": key,
        "message_id": _message_id(frame, origin),
        "topic": _storable(frame.topic),
        "headers": json.dumps(frame.headers),
        "body": frame.body,
        "stream": origin.stream if origin else None,
        "sequence": origin.sequence if origin else None,
        "durable": origin.durable if origin else None,
    }


def entry_of(row: RowMapping) -> QueueEntry:
    """What stands in a row."""
    origin = None if row["stream"] is None else Origin(row["stream"], row["sequence"], row["durable"])
    return QueueEntry(
        number=row["number"],
        frame=Frame(row["topic"], json.loads(row["headers"]), bytes(row["body"])),
        key=row["key"],
        origin=origin,
        delivered=row["delivered"],
        failed=row["failed"],
    )


def _message_id(frame: Frame, origin: Origin | None) -> str | None:
    """By what a message is known while it waits."""
    if origin is not None:
        return f"{origin.durable}:{origin.stream}:{origin.sequence}"
    identifier = frame.headers.get(MESSAGE_ID)
    if identifier is None:
        return None
    text = _storable(identifier)
    return text if len(text.encode()) <= LONGEST else sha256(text.encode()).hexdigest()


def _storable(text: str) -> str:
    """Text without what PostgreSQL cannot hold. Other NATS clients may send it, and must not block a queue."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
