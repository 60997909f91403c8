"""Publishing with acknowledgement: one inbox for all, a future for each message in flight.

nats-py's `publish_async` loses error acknowledgements and leaks a slot for each; its `publish` waits for one
message at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from time import monotonic
from typing import NoReturn

import msgspec
from nats.errors import ConnectionClosedError, OutboundBufferLimitError

from callboard.brokers.wire import Frame, check_size, header_block
from callboard.errors import (
    ConnectionLostError,
    NoStreamError,
    PermissionDeniedError,
    PublishRefusedError,
    PublishUnknownError,
)
from callboard.jetstream.api import JetStreamApi, UnavailableError
from callboard.jetstream.connection import NatsConnection

__all__ = ["AcknowledgedPublisher", "PublishAck"]

BUDGET = 16.0
"""Seconds that an unknown outcome is retried: a frozen leader costs up to 7, an election included."""
ATTEMPT = 4.0
"""Seconds for one acknowledgement."""
STREAM_CHECK = 3.0
"""Seconds to ask whether there is a stream at all, when none acknowledges."""
IN_FLIGHT = 512
"""Publishes that wait for their acknowledgement at once; as many again take turns."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
UNAVAILABLE = 503
STREAM_FULL = 10077
"""Comes with the code of a passing problem, but passes only when somebody makes room."""


class _Again(Exception):
    """This attempt's outcome is unknown; try again with the same `Nats-Msg-Id`."""


class _Silence(_Again):
    """No acknowledgement came in time."""


class Problem(msgspec.Struct, frozen=True):
    """Why a stream did not take a message."""

    code: int
    err_code: int = 0
    description: str = "no reason given"


class PublishAck(msgspec.Struct, frozen=True, gc=False):
    """What is answered to a publish: where the stream put the message. Without stream and error: nobody listens."""

    stream: str = ""
    sequence: int = msgspec.field(default=0, name="seq")
    duplicate: bool = False
    error: Problem | None = None


def _answer_of(body: bytes, headers: Mapping[str, str] | None) -> PublishAck | None:
    """None when some other listener of the topic answered, and not the stream."""
    if headers is not None and headers.get("Status") == "503":
        return PublishAck()
    try:
        answer = _DECODER.decode(body)
    except msgspec.DecodeError:
        return None
    return answer if answer.stream or answer.error is not None else None


_DECODER = msgspec.json.Decoder(PublishAck)


class AcknowledgedPublisher:
    """Publishes and waits for the stream's word, however many at once."""

    def __init__(self, connection: NatsConnection, api: JetStreamApi) -> None:
        self._connection = connection
        self._api = api
        self._inbox = connection.new_inbox()
        self._count = 0
        self._pending: dict[str, tuple[asyncio.Future[PublishAck], float, str]] = {}
        """In flight by token, oldest first: future, loop time of giving up, subject."""
        self._further = asyncio.Semaphore(IN_FLIGHT)
        """For those above the limit: to take a turn costs 2 microseconds of 30."""

    async def start(self) -> None:
        """Listen for acknowledgements."""
        await self._connection.listen(self._on_ack, f"{self._inbox}.*")
        self._connection.on_reconnect.append(self._on_reconnect)
        self._connection.on_denied.append(self._on_denied)

    def publish(self, frame: Frame) -> Awaitable[PublishAck]:
        """Store a frame; see `BrokerTransport.publish` for guarantees and errors."""
        return self._store(frame.topic, frame.body, check_size(frame, self._connection.max_payload))

    def publish_raw(self, subject: str, body: bytes, headers: Mapping[str, str]) -> Awaitable[PublishAck]:
        """Like `publish`, for the system's own subjects, whatever its size."""
        return self._store(subject, body, header_block(headers))

    async def _store(self, subject: str, body: bytes, headers: bytes) -> PublishAck:
        begun = monotonic()
        pause = FIRST_PAUSE
        while True:
            try:
                if len(self._pending) < IN_FLIGHT:
                    answer = await self._attempt(subject, body, headers)
                else:
                    async with self._further:
                        answer = await self._attempt(subject, body, headers)
                if answer.stream and answer.error is None:
                    return answer
                await self._refuse(subject, answer)
            except _Silence as again:
                reason = str(again)
                await self._check_stream(subject)
            except _Again as again:
                reason = str(again)
            if monotonic() + pause - begun > BUDGET:
                raise PublishUnknownError(subject, monotonic() - begun, reason)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _attempt(self, subject: str, body: bytes, headers: bytes) -> PublishAck:
        self._count += 1
        token = str(self._count)
        future: asyncio.Future[PublishAck] = asyncio.get_running_loop().create_future()
        self._pending[token] = (future, monotonic() + ATTEMPT, subject)
        try:
            client = self._connection.client
            if client.is_full:
                await client.written()
            client.send(subject, body, reply=f"{self._inbox}.{token}", headers=headers)
            return await future
        except OutboundBufferLimitError:
            raise _Again("not connected and the send buffer is full") from None
        except ConnectionClosedError:
            if not self._connection.is_ready():
                raise ConnectionLostError(self._connection.options.secret_free, "closed") from None
            raise _Again("the connection is being replaced") from None
        finally:
            self._pending.pop(token, None)
            if future.done() and not future.cancelled():
                future.exception()

    async def _refuse(self, subject: str, answer: PublishAck) -> NoReturn:
        """Raise what an answer means that is no acknowledgement."""
        if (error := answer.error) is None:
            await self._check_stream(subject)
            raise _Again("the stream has no leader")
        if error.code == UNAVAILABLE and error.err_code != STREAM_FULL:
            raise _Again(error.description)
        raise PublishRefusedError(subject, error.description, code=error.err_code)

    async def _check_stream(self, subject: str) -> None:
        """Nobody answered: raises `NoStreamError` when that is because there is no stream."""
        try:
            async with asyncio.timeout(STREAM_CHECK):
                streams = await self._api.streams_touching(subject)
        except (UnavailableError, TimeoutError):
            return
        if not streams:
            raise NoStreamError(subject)

    def _on_ack(self, subject: str, _: str, body: bytes, headers: dict[str, str] | None) -> None:
        entry = self._pending.get(subject.rpartition(".")[2])
        if entry is None or entry[0].done():
            return
        if (answer := _answer_of(body, headers)) is not None:
            entry[0].set_result(answer)

    def _on_reconnect(self) -> None:
        """What was in flight may be lost with the old connection: send it again now, not when it times out."""
        for future, _, _ in self._pending.values():
            if not future.done():
                future.set_exception(_Again("the connection was interrupted"))

    def _on_denied(self, operation: str, subject: str) -> None:
        if operation != "publish":
            return
        for future, _, wanted in self._pending.values():
            if wanted.lower() == subject and not future.done():
                future.set_exception(PermissionDeniedError(wanted, "the account may not publish there"))

    def expire(self, now: float) -> None:
        """Give up attempts whose time is over; called by the process's timer."""
        for future, until, _ in self._pending.values():
            if until > now:
                return
            if not future.done():
                future.set_exception(_Silence("no acknowledgement in time"))
