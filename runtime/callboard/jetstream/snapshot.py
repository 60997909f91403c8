"""What the server has."""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from callboard.jetstream.api import ConsumerInfo, JetStreamApi

__all__ = ["Snapshot", "StreamInfo"]


@frozen
class StreamInfo:
    """A stream as the server describes it."""

    name: str
    config: dict[str, Any]
    incarnation: str
    """A mark of its creation: a stream that was deleted and made again has another."""
    last: int
    """Sequence of its last message."""

    @classmethod
    def of(cls, info: dict[str, Any]) -> StreamInfo:
        """From the answer of the API."""
        incarnation = re.sub(r"\D", "", str(info["created"]))[:17]
        return cls(info["config"]["name"], info["config"], incarnation, info["state"]["last_seq"])

    @property
    def subjects(self) -> list[str]:
        """What it holds; empty for a mirror."""
        return self.config.get("subjects") or []


class Snapshot:
    """Streams and consumers, read when they are asked for, each thing once."""

    def __init__(self, api: JetStreamApi) -> None:
        self._api = api
        self._streams: dict[str, StreamInfo | None] = {}
        self._consumers: dict[str, dict[str, ConsumerInfo]] = {}
        self._holders: dict[str, list[str]] = {}

    async def stream(self, name: str) -> StreamInfo | None:
        """A stream by its name."""
        if name not in self._streams:
            info = await self._api.find(f"STREAM.INFO.{name}")
            self._streams[name] = None if info is None else StreamInfo.of(info)
        return self._streams[name]

    async def names(self) -> list[str]:
        """All streams."""
        return await self._api.streams()

    async def holders(self, topic_filter: str) -> list[StreamInfo]:
        """The streams that hold some topic of a filter."""
        if topic_filter not in self._holders:
            self._holders[topic_filter] = await self._api.streams_touching(topic_filter)
        found = [await self.stream(name) for name in self._holders[topic_filter]]
        return [info for info in found if info is not None]

    async def consumers(self, stream: str) -> dict[str, ConsumerInfo]:
        """All consumers of a stream by name. In a cluster one whose leader is away may not be among them."""
        if stream not in self._consumers:
            self._consumers[stream] = {consumer.name: consumer for consumer in await self._api.consumers(stream)}
        return self._consumers[stream]

    async def consumer(self, stream: str, name: str) -> ConsumerInfo | None:
        """One consumer."""
        listed = self._consumers.get(stream, {}).get(name)
        if listed is not None:
            return listed
        info = await self._api.find(f"CONSUMER.INFO.{stream}.{name}")
        return None if info is None else ConsumerInfo.of(info)
