"""The JetStream API as raw JSON.

nats-py's configuration classes send a whole configuration and reset what they do not know; raw objects can be
read, merged and written back.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from attrs import frozen
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from callboard.errors import CallboardError, SubstrateError
from callboard.jetstream.connection import NatsConnection

__all__ = [
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

    @classmethod
    def of(cls, info: dict[str, Any]) -> ConsumerInfo:
        """From the answer of the API."""
        floor: dict[str, Any] = info.get("ack_floor") or {}
        return cls(info["name"], info["config"], info.get("num_pending", 0), floor.get("stream_seq", 0))

    @property
    def filters(self) -> list[str]:
        """The topics that it selects."""
        several: list[str] | None = self.config.get("filter_subjects")
        return several or [str(self.config.get("filter_subject") or ">")]

    @property
    def metadata(self) -> dict[str, str]:
        """What its creator noted."""
        return self.config.get("metadata") or {}


class JetStreamApi:
    """Calls of `$JS.API`, repeated while nobody answers."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection

    async def call(self, name: str, request: Any = None) -> dict[str, Any]:
        """One call. Calls that are repeated must be safe to repeat; all that Callboard uses are.

        Raises `ApiError` for an answer that says no, `UnavailableError` after 15 s without an answer.
        """
        body = b"" if request is None else msgspec.json.encode(request)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BUDGET
        pause = 0.05
        while True:
            try:
                return await self._once(name, body)
            except UnavailableError:
                if loop.time() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _once(self, name: str, body: bytes) -> dict[str, Any]:
        try:
            answer = await self._connection.client.request(f"$JS.API.{name}", body, timeout=REQUEST_TIMEOUT)
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

    async def consumers(self, stream: str) -> list[ConsumerInfo]:
        """All consumers of a stream."""
        found: list[ConsumerInfo] = []
        while True:
            page = await self.call(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
            entries: list[dict[str, Any]] = page.get("consumers") or []
            found.extend(ConsumerInfo.of(entry) for entry in entries)
            if not entries or len(found) >= page["total"]:
                return found
