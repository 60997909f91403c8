"""What we remember of streams and durables, in the key-value bucket `CALLBOARD`.

| key | value | written |
|---|---|---|
| `streams.<stream>` | `{"incarnation": "20260131120000123", "subjects": ["orders.>"]}` | when first used |
| `durables.<stream>.<durable>` | `{"incarnation": "20260131120000123", "floor": 17}`: acked up to 17 | while it moves |

An incarnation is the stream's time of creation: what is remembered of one does not count for another. The bucket has
no age limit. Failed attempts are in it too, under `attempts.`.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from attrs import field, frozen

from callboard.errors import PermissionDeniedError, SubstrateError
from callboard.jetstream.api import ApiError, ConsumerInfo, JetStreamApi
from callboard.jetstream.attempts import BUCKET, BUCKET_STREAM

__all__ = ["RecordedStream", "TopologyRecord"]

logger = logging.getLogger("callboard.topology")

T = TypeVar("T")

PREFIX = f"$KV.{BUCKET}"


@frozen
class RecordedStream:
    """A stream that was used."""

    incarnation: str
    subjects: tuple[str, ...] = ()
    name: str = ""
    at: str = field(default="", eq=False)
    """When it was recorded (RFC 3339)."""


@frozen
class _RecordedDurable:
    incarnation: str
    floor: int


class TopologyRecord:
    """Reads and writes the record. `incarnations` are those of the streams in use, kept up to date by their owner."""

    def __init__(self, api: JetStreamApi, incarnations: Mapping[str, str]) -> None:
        self._api = api
        self._incarnations = incarnations
        self._noted: dict[tuple[str, str], _RecordedDurable] = {}
        self._due: set[tuple[str, str]] = set()
        self._forbidden = False

    # Streams

    async def stream(self, name: str) -> RecordedStream | None:
        """What is remembered of a stream; None when it was never used."""
        return await self._stream_at(f"{PREFIX}.streams.{name}")

    async def streams(self) -> list[RecordedStream]:
        """All streams that were ever used."""
        info = await self._api.find(f"STREAM.INFO.{BUCKET_STREAM}", {"subjects_filter": f"{PREFIX}.streams.*"})
        subjects: dict[str, int] | None = None if info is None else info["state"].get("subjects")
        found = [await self._stream_at(subject) for subject in subjects or ()]
        return [recorded for recorded in found if recorded is not None]

    async def stream_created(self, name: str, incarnation: str, subjects: Sequence[str]) -> None:
        """Remember a stream."""
        value = {"incarnation": incarnation, "subjects": list(subjects)}
        await self._api.store(f"{PREFIX}.streams.{name}", msgspec.json.encode(value))

    async def forget_stream(self, name: str) -> None:
        """A stream may be created as if it had never been."""
        await self._forget(f"{PREFIX}.streams.{name}")

    async def _stream_at(self, subject: str) -> RecordedStream | None:
        message = await self._last(subject)
        recorded = None if message is None else _read(message, RecordedStream)
        if recorded is None or message is None:
            return None
        name = subject.rpartition(".")[2]
        return RecordedStream(recorded.incarnation, recorded.subjects, name, str(message["time"]))

    # Durables

    async def floor(self, stream: str, durable: str, incarnation: str) -> int | None:
        """Up to where a durable had acknowledged; None when that is not known of this incarnation of its stream."""
        message = await self._last(f"{PREFIX}.durables.{stream}.{durable}")
        recorded = None if message is None else _read(message, _RecordedDurable)
        return recorded.floor if recorded is not None and recorded.incarnation == incarnation else None

    async def note_floor(self, stream: str, durable: str, incarnation: str, floor: int) -> None:
        """Remember up to where a durable has acknowledged; nothing is written when that is known."""
        recorded = _RecordedDurable(incarnation, floor)
        if self._noted.get((stream, durable)) == recorded:
            return
        value = {"incarnation": incarnation, "floor": floor}
        await self._api.store(f"{PREFIX}.durables.{stream}.{durable}", msgspec.json.encode(value))
        self._noted[stream, durable] = recorded

    async def forget_durable(self, stream: str, durable: str) -> None:
        """A durable that was deleted on purpose may begin anew."""
        self._noted.pop((stream, durable), None)
        self._due.discard((stream, durable))
        await self._forget(f"{PREFIX}.durables.{stream}.{durable}")

    async def note(self, mailboxes: Iterable[tuple[str, str]]) -> None:
        """Write the floors of these durables (stream, name) that moved: at most one read and one write each.

        Raises nothing: while the server is away they stay due, and are looked at again the next time. An account that
        may not do it is told so once.
        """
        if self._forbidden:
            return
        self._due.update(mailboxes)
        for stream, durable in tuple(self._due):
            try:
                await self._note(stream, durable)
            except SubstrateError as error:
                logger.debug("the floors of durables are not recorded now: %s", error)
                return
            except PermissionDeniedError as error:
                self._forbidden = True
                logger.warning("the floors of durables are not recorded, one that is lost begins anew: %s", error)
                return
            except ApiError as error:
                logger.debug("the floor of durable %s is not recorded: %s", durable, error)
            self._due.discard((stream, durable))

    async def _note(self, stream: str, durable: str) -> None:
        # Read before the floor: a floor of an older incarnation must never count for a newer one.
        incarnation = self._incarnations.get(stream, "")
        info = await self._api.find(f"CONSUMER.INFO.{stream}.{durable}")
        if info is not None and incarnation:
            await self.note_floor(stream, durable, incarnation, ConsumerInfo.of(info).ack_floor)

    # The bucket

    async def _last(self, subject: str) -> dict[str, Any] | None:
        """The last value of a key as its message; None when there is none, or no bucket."""
        answer = await self._api.find(f"STREAM.MSG.GET.{BUCKET_STREAM}", {"last_by_subj": subject})
        return None if answer is None else answer["message"]

    async def _forget(self, subject: str) -> None:
        await self._api.find(f"STREAM.PURGE.{BUCKET_STREAM}", {"filter": subject})


def _read(message: Mapping[str, Any], kind: type[T]) -> T | None:
    """A value of ours; None for what somebody else wrote."""
    try:
        return msgspec.json.decode(base64.b64decode(message.get("data", "")), type=kind)
    except msgspec.DecodeError as error:
        logger.warning("%s cannot be read and does not count: %s", message.get("subject"), error)
        return None
