"""Dead letters as they are read back: the original message, and why it was given up."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from attrs import evolve, frozen

from callboard.brokers import wire
from callboard.brokers.topic import matches
from callboard.instrumentation import trace_headers

__all__ = [
    "BODY",
    "DEAD",
    "HEADERS",
    "LEFT_OUT",
    "ORIGIN",
    "OTHER_HEADERS",
    "LetterFilter",
    "StoredLetter",
    "digest_of",
    "read_letter",
    "sendable",
]

ORIGIN = "Callboard-Origin-"
"""Stands before the names of the original's headers."""
DEAD = "Callboard-Dead-"
"""Stands before the names of the headers that say what happened."""
HEADERS, BODY = "headers", "body"
"""Parts of an original that a letter may lack."""
LEFT_OUT = "left out"
OTHER_HEADERS = f"{DEAD}Other-Headers"
"""A JSON object: headers of the original whose name or value cannot be sent as a header."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 7230
_UNSENDABLE = re.compile("[\r\n\ud800-\udfff]")
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def sendable(name: str, value: str) -> bool:
    """Whether a header can be sent and arrives as it was: other clients may have sent what nats-py refuses (names that
    are no tokens) or changes (outer white space, line breaks)."""
    return bool(_TOKEN.fullmatch(name)) and value == value.strip() and not _UNSENDABLE.search(value)


@frozen
class StoredLetter:
    """A message that was given up, as it arrived, with the reason."""

    sequence: int
    """Position among the dead letters; what a letter is named by."""
    topic: str
    headers: Mapping[str, str]
    """All headers of the original, the system's included."""
    body: bytes
    stream: str
    stream_sequence: int
    """Where the original is, or was."""
    durable: str
    """The mailbox that gave it up."""
    actor: str
    """Empty when it is not known."""
    identifier: UUID
    error_type: str
    error_message: str
    traceback: str
    attempts: int
    at: datetime
    carrier: Mapping[str, str]
    """Trace headers that a replay goes on from."""
    left_out: frozenset[str] = frozenset()
    """Parts of the original, `headers` or `body`, that were too large and could not be found again."""
    digest: str = ""
    """Of the original; only where a part was left out."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty when no trace is known."""
        parts = self.carrier.get("traceparent", "").split("-")
        return parts[1] if len(parts) == 4 else ""

    def completed(self, headers: Mapping[str, str], body: bytes) -> StoredLetter:
        """With what was left out, from the message that is now where the original was. Unchanged when that is another
        one: a stream that was deleted and made again counts from 1."""
        if digest_of(headers, body) != self.digest:
            return self
        return evolve(self, headers=headers, body=body, left_out=frozenset())


def digest_of(headers: Mapping[str, str], body: bytes) -> str:
    """What tells one message from another. Headers that cannot be sent do not count: a delivery and a look into the
    stream need not read them alike."""
    digest = hashlib.sha256(body)
    for name, value in sorted(headers.items()):
        if sendable(name, value):
            digest.update(f"\0{name}\0{value}".encode())
    return digest.hexdigest()


def read_letter(sequence: int, headers: Mapping[str, str], body: bytes) -> StoredLetter | None:
    """A letter from what is stored; None for what is none."""
    stream, durable = headers.get(f"{DEAD}Stream"), headers.get(f"{DEAD}Durable")
    stream_sequence = _number(headers.get(f"{DEAD}Sequence"))
    if not stream or not durable or not stream_sequence:
        return None
    origin = {name.removeprefix(ORIGIN): value for name, value in headers.items() if name.startswith(ORIGIN)}
    origin.update(_other_headers(headers.get(OTHER_HEADERS)))
    named = wire.uuid_header(headers, f"{DEAD}Id") or wire.named_identifier(origin)
    return StoredLetter(
        sequence=sequence,
        topic=headers.get(f"{DEAD}Topic", ""),
        headers=origin,
        body=body,
        stream=stream,
        stream_sequence=stream_sequence,
        durable=durable,
        actor=headers.get(f"{DEAD}Actor", ""),
        identifier=named or uuid5(NAMESPACE_URL, f"callboard:{stream}:{stream_sequence}"),
        error_type=headers.get(f"{DEAD}Error-Type", ""),
        error_message=_text(headers.get(f"{DEAD}Error-Message")),
        traceback=_text(headers.get(f"{DEAD}Traceback")),
        attempts=_number(headers.get(f"{DEAD}Attempts")),
        at=wire.parse_time(headers.get(f"{DEAD}At")) or _NEVER,
        carrier=trace_headers(headers),
        left_out=frozenset(part for part in (HEADERS, BODY) if headers.get(f"{DEAD}{part.title()}") == LEFT_OUT),
        digest=headers.get(f"{DEAD}Digest", ""),
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _text(line: str | None) -> str:
    """A text that was written as one line: JSON."""
    try:
        return msgspec.json.decode(line or '""', type=str)
    except msgspec.DecodeError:
        return line or ""


def _other_headers(line: str | None) -> dict[str, str]:
    try:
        return msgspec.json.decode(line or "{}", type=dict[str, str])
    except msgspec.DecodeError:
        return {}


@frozen(kw_only=True)
class LetterFilter:
    """Which dead letters are meant: those to which everything that is set applies."""

    actor: str | None = None
    error: str | None = None
    """Class name of the error."""
    topic: str | None = None
    """May have wildcards."""
    durable: str | None = None
    before: datetime | None = None
    after: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all letters are meant."""
        return self == LetterFilter()

    def matches(self, letter: StoredLetter) -> bool:
        """Whether this letter is meant."""
        exact: tuple[tuple[Any, Any], ...] = (
            (self.actor, letter.actor),
            (self.error, letter.error_type),
            (self.durable, letter.durable),
        )
        return (
            all(wanted is None or wanted == found for wanted, found in exact)
            and (self.topic is None or matches(self.topic, letter.topic))
            and (self.before is None or letter.at < self.before)
            and (self.after is None or letter.at > self.after)
        )
