"""Dead letters in a stream of their own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import msgspec
from nats.errors import Error as NatsError

from callboard.brokers.deadletter import DEAD_STREAM, DEAD_TOPIC, DeadLetter, DeadLetters, dead_letter_frame
from callboard.brokers.letter import StoredLetter, read_letter
from callboard.brokers.topic import matches
from callboard.brokers.transport import ReplyFrame
from callboard.errors import NoDeadLetterError, NoStreamError, PublishRefusedError, TopologyError
from callboard.jetstream.acknowledgement import AcknowledgedPublisher
from callboard.jetstream.api import ApiError, ConsumerInfo, JetStreamApi, UnavailableError
from callboard.jetstream.connection import NatsConnection
from callboard.jetstream.stored import StoredMessage

__all__ = ["JetStreamDeadLetters", "stored_message"]

BATCH = 200
BATCH_BYTES = 4 * 1024 * 1024
"""Messages and bytes that are in memory at once while letters are listed."""
PATIENCE = 5.0
"""Seconds without a message of a batch after which it is asked for again."""
TRIES = 3

_NAME = re.compile(r"[^\s.*>/\\]+")


class JetStreamDeadLetters(DeadLetters):
    """Letters are stored once: a repeated one has the same `Nats-Msg-Id`."""

    def __init__(self, connection: NatsConnection, publisher: AcknowledgedPublisher, api: JetStreamApi) -> None:
        self._connection = connection
        self._publisher = publisher
        self._api = api

    async def put(self, letter: DeadLetter, carrier: dict[str, str]) -> None:
        frame = dead_letter_frame(letter, carrier, self._connection.max_payload)
        try:
            await self._publisher.publish_raw(frame.topic, frame.body, frame.headers)
        except NoStreamError as error:
            raise PublishRefusedError(
                frame.topic,
                f"the stream {DEAD_STREAM} is missing; restore it, or make an empty one with "
                f"'callboard topology apply --recreate {DEAD_STREAM} TARGET'",
            ) from error

    async def letters(self) -> AsyncIterator[StoredLetter]:
        last = await self._last()
        position = 1
        while position <= last:
            batch = await self._batch(position)
            for message in batch:
                headers = message.headers
                position = int(headers["Nats-Sequence"]) + 1
                if position - 1 > last:
                    return
                if (letter := read_letter(position - 1, headers, message.body)) is not None:
                    yield letter
            if not batch:
                return

    async def get(self, sequence: int) -> StoredLetter:
        stored = await stored_message(self._api, DEAD_STREAM, sequence)
        letter = None if stored is None else read_letter(sequence, stored.headers, stored.body)
        if letter is None:
            raise NoDeadLetterError(sequence)
        if letter.left_out and (origin := await stored_message(self._api, letter.stream, letter.stream_sequence)):
            return letter.completed(origin.headers, origin.body)
        return letter

    async def remove(self, sequence: int) -> bool:
        try:
            await self._api.call(f"STREAM.MSG.DELETE.{DEAD_STREAM}", {"seq": sequence, "no_erase": True})
        except ApiError:
            # The server has several codes for a message that is gone, and some of them mean other things too.
            if await stored_message(self._api, DEAD_STREAM, sequence) is None:
                return False
            raise
        return True

    async def has_mailbox(self, letter: StoredLetter) -> bool:
        if not (_NAME.fullmatch(letter.stream) and _NAME.fullmatch(letter.durable)):
            return False  # a queue's: its name may be anything
        info = await self._api.find(f"CONSUMER.INFO.{letter.stream}.{letter.durable}")
        return info is not None and any(matches(topics, letter.topic) for topics in ConsumerInfo.of(info).filters)

    async def _last(self) -> int:
        """The newest letter's sequence; 0 when there is no stream. Raises `TopologyError` when it cannot be read."""
        info = await self._api.find(f"STREAM.INFO.{DEAD_STREAM}")
        if info is None:
            return 0
        if not info["config"].get("allow_direct"):
            raise TopologyError(
                f"stream {DEAD_STREAM!r}",
                "has allow_direct=False, and dead letters are listed by direct gets; "
                f"allow them: nats stream edit {DEAD_STREAM} --allow-direct",
            )
        return int(info["state"]["last_seq"])

    async def _batch(self, position: int) -> list[ReplyFrame]:
        """Messages from this sequence on, oldest first; none when there are no more."""
        for _ in range(TRIES):
            if (batch := await self._try_batch(position)) is not None:
                return batch
        raise UnavailableError(f"DIRECT.GET.{DEAD_STREAM}", "the answer broke off")

    async def _try_batch(self, position: int) -> list[ReplyFrame] | None:
        """None when an answer broke off at its beginning. One that broke off later is a shorter batch."""
        arrived: asyncio.Queue[ReplyFrame] = asyncio.Queue()
        inbox = self._connection.new_inbox()
        request = {
            "seq": position,
            "batch": BATCH,
            "max_bytes": BATCH_BYTES,
            "next_by_subj": f"{DEAD_TOPIC}.>",
        }
        batch: list[ReplyFrame] = []

        def arrive(_subject: str, _reply: str, body: bytes, headers: dict[str, str] | None) -> None:
            arrived.put_nowait(ReplyFrame(headers or {}, body))

        try:
            subscription = await self._connection.listen(arrive, f"{inbox}.*")
            try:
                subject = f"$JS.API.DIRECT.GET.{DEAD_STREAM}"
                self._connection.client.send(subject, msgspec.json.encode(request), reply=f"{inbox}.1")
                while "Nats-Sequence" in ((message := await _next(arrived)).headers):
                    batch.append(message)
            finally:
                await subscription.unsubscribe()
        except (NatsError, TimeoutError):
            return batch or None
        ended = message.headers.get("Status") in {"204", "404"}
        return batch if ended or batch else None


async def _next(arrived: asyncio.Queue[ReplyFrame]) -> ReplyFrame:
    async with asyncio.timeout(PATIENCE):
        return await arrived.get()


async def stored_message(api: JetStreamApi, stream: str, sequence: int) -> StoredMessage | None:
    """The message with this sequence, from the stream's leader; None when it, or the stream, is gone."""
    if not _NAME.fullmatch(stream):
        return None
    answer = await api.find(f"STREAM.MSG.GET.{stream}", {"seq": sequence})
    return None if answer is None else StoredMessage.of(answer["message"])
