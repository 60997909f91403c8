"""The JetStream API as raw JSON.

nats-py's configuration classes send a whole configuration and reset what they do not know; raw objects can be
read, merged and written back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from attrs import frozen
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from callboard.errors import CallboardError, PermissionDeniedError, SubstrateError
from callboard.jetstream.connection import NatsConnection

__all__ = [
    "CONSUMER_EXISTS",
    "CONSUMER_NOT_FOUND",
    "STREAM_NAME_IN_USE",
    "STREAM_NOT_FOUND",
    "SUBJECTS_OVERLAP",
    "ApiError",
    "ConsumerInfo",
    "JetStreamApi",
    "UnavailableError",
]

STREAM_NAME_IN_USE = 10058
STREAM_NOT_FOUND = 10059
SUBJECTS_OVERLAP = 10065
CONSUMER_NOT_FOUND = 10014
CONSUMER_EXISTS = 10148

REQUEST_TIMEOUT = 3.0
BUDGET = 15.0
"""Seconds that a call is repeated while the server or its leader is away (an election takes up to 7)."""
_TRANSIENT = {503}


class ApiError(CallboardError):
    """The server answered an API call with an error."""

    def __init__(self, call: str, code: int, err_code: int, description: str) -> None:
        self.call = call
        self.code = code
        self.err_code = err_code
        self.description = description
        super().__init__(f"{call}: {description} ({err_code})")


class UnavailableError(SubstrateError):
    """JetStream did not answer an API call."""

    def __init__(self, call: str, reason: str) -> None:
        super().__init__(f"JetStream does not answer {call} ({reason}); is it enabled on this server and account?")


@frozen
class ConsumerInfo:
    """A consumer as the server describes it."""

    name: str
    config: dict[str, Any]
    pending: int
    """Messages of the stream that it has not handed over yet."""
    ack_floor: int
    """Stream sequence up to which everything is acknowledged."""
    unsettled: int = 0
    """Messages that it has handed over and that are not settled."""
    at: str = ""
    """When the server said this, by its clock (RFC 3339)."""
    redelivered: int = 0
    """Unsettled messages that it has handed over more than once."""
    pulls: int = 0
    """Pulls that wait for messages."""
    delivered: int = 0
    """What it has handed over so far, redeliveries included."""
    pause_remaining: timedelta = timedelta()
    """For how long it hands over nothing yet."""

    @classmethod
    def of(cls, info: dict[str, Any]) -> ConsumerInfo:
        """From the answer of the API."""
        floor: dict[str, Any] = info.get("ack_floor") or {}
        handed_over: dict[str, Any] = info.get("delivered") or {}
        return cls(
            name=info["name"],
            config=info["config"],
            pending=info.get("num_pending", 0),
            ack_floor=floor.get("stream_seq", 0),
            unsettled=info.get("num_ack_pending", 0),
            at=info.get("ts", ""),
            redelivered=info.get("num_redelivered", 0),
            pulls=info.get("num_waiting", 0),
            delivered=handed_over.get("consumer_seq", 0),
            pause_remaining=timedelta(microseconds=info.get("pause_remaining", 0) / 1000),
        )

    @property
    def waits(self) -> bool:
        """Whether a message is not settled."""
        return self.pending > 0 or self.unsettled > 0

    @property
    def filters(self) -> list[str]:
        """The topics that it selects."""
        several: list[str] | None = self.config.get("filter_subjects")
        return several or [str(self.config.get("filter_subject") or ">")]

    @property
    def metadata(self) -> dict[str, str]:
        """What its creator noted."""
        return self.config.get("metadata") or {}


def _refusals(refused: set[str]) -> Callable[[str, str], None]:
    """A listener that collects what may not be published to."""

    def denied(operation: str, subject: str) -> None:
        if operation == "publish":
            refused.add(subject)

    return denied


class JetStreamApi:
    """Calls of `$JS.API`, repeated while nobody answers."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection
        self._asking: dict[asyncio.Future[str], str] = {}
        """The subjects that wait for an answer; each future gets what the account may not do instead."""
        connection.on_denied.append(self._on_denied)

    async def call(self, name: str, request: Any = None) -> dict[str, Any]:
        """One call. Calls that are repeated must be safe to repeat; all that Callboard uses are.

        Raises `ApiError` for an answer that says no, `PermissionDeniedError` when the account may not make it, and
        `UnavailableError` after 15 s without an answer.
        """
        body = b"" if request is None else msgspec.json.encode(request)
        return await self._answer(name, f"$JS.API.{name}", body)

    async def store(self, subject: str, body: bytes) -> None:
        """Have a stream keep something of our own that is safe to repeat. Raises what `call` raises."""
        await self._answer(subject, subject, body)

    async def _answer(self, name: str, subject: str, body: bytes) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BUDGET
        pause = 0.05
        while True:
            try:
                return await self._once(name, subject, body)
            except UnavailableError:
                if loop.time() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _once(self, name: str, subject: str, body: bytes) -> dict[str, Any]:
        try:
            answer = await self._ask(subject, body)
        except NoRespondersError:
            raise UnavailableError(name, "no responders") from None
        except (NatsError, TimeoutError) as error:
            raise UnavailableError(name, str(error) or "timeout") from error
        result: dict[str, Any] = msgspec.json.decode(answer.data)
        if (problem := result.get("error")) is None:
            return result
        if problem["code"] in _TRANSIENT:
            raise UnavailableError(name, problem.get("description", ""))
        raise ApiError(name, problem["code"], problem.get("err_code", 0), problem.get("description", ""))

    async def _ask(self, subject: str, body: bytes) -> Msg:
        """A request that ends at once when it is not permitted: nats-py's own would wait for its timeout."""
        asking = asyncio.ensure_future(self._connection.client.request(subject, body, timeout=REQUEST_TIMEOUT))
        denied: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asking[denied] = subject
        try:
            racing: list[asyncio.Future[Any]] = [asking, denied]
            await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            raise PermissionDeniedError(subject, f"the account may not {denied.result()}")
        finally:
            del self._asking[denied]
            denied.cancel()
            asking.cancel()

    def _on_denied(self, operation: str, subject: str) -> None:
        # Inboxes have random names: where one is refused, that of the answers is too.
        unheard = operation == "subscribe" and self._connection.is_inbox(subject)
        for denied, asked in self._asking.items():
            if denied.done():
                continue
            if unheard:
                denied.set_result("subscribe to the inbox of its answer")
            elif operation == "publish" and asked.lower() == subject:
                denied.set_result("publish there")

    async def find(self, name: str, request: Any = None) -> dict[str, Any] | None:
        """Like `call`, but None for what does not exist."""
        try:
            return await self.call(name, request)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def streams_touching(self, topic_filter: str) -> list[str]:
        """Names of the streams that hold some topic of a filter."""
        names: list[str] = (await self.call("STREAM.NAMES", {"subject": topic_filter})).get("streams") or []
        return names

    async def check_pulls(self, mailboxes: Sequence[tuple[str, str]]) -> None:
        """Raises `PermissionDeniedError` when the account may not pull from one of these (stream, durable).

        A pull without an address for its answer asks for nothing; the server only looks whether it is permitted, and
        says so before it answers what is sent after it.
        """
        subjects = [f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}" for stream, durable in mailboxes]
        refused: set[str] = set()
        listener = _refusals(refused)
        self._connection.on_denied.append(listener)
        try:
            for subject in subjects:
                self._connection.client.send(subject, b"-")
            for stream in {stream for stream, _ in mailboxes}:
                await self.call(f"STREAM.INFO.{stream}")
        except NatsError as error:
            raise UnavailableError("a check of permissions", str(error)) from error
        finally:
            self._connection.on_denied.remove(listener)
        for subject in subjects:
            if subject.lower() in refused:
                raise PermissionDeniedError(subject, "the account may not publish there")

    async def oldest(self, stream: str, consumer: ConsumerInfo) -> float:
        """Seconds since the oldest message that is not settled was stored, by the server's clock; 0.0 without one."""
        now = datetime.fromisoformat(consumer.at) if consumer.at else datetime.now(UTC)
        ages = [0.0]
        for topics in consumer.filters:
            wanted = {"seq": consumer.ack_floor + 1, "next_by_subj": topics}
            if (found := await self.find(f"STREAM.MSG.GET.{stream}", wanted)) is not None:
                ages.append((now - datetime.fromisoformat(found["message"]["time"])).total_seconds())
        return max(ages)

    async def streams(self) -> list[str]:
        """Names of all streams."""
        found: list[str] = []
        while True:
            page = await self.call("STREAM.NAMES", {"offset": len(found)})
            names: list[str] = page.get("streams") or []
            found.extend(names)
            if not names or len(found) >= page["total"]:
                return found

    async def consumers(self, stream: str) -> list[ConsumerInfo]:
        """All consumers of a stream."""
        found: list[ConsumerInfo] = []
        while True:
            page = await self.call(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
            entries: list[dict[str, Any]] = page.get("consumers") or []
            found.extend(ConsumerInfo.of(entry) for entry in entries)
            if not entries or len(found) >= page["total"]:
                return found
