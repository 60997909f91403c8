"""Private reply topics on one subscription."""

from __future__ import annotations

import asyncio

from callboard.brokers.transport import ReplyBox, ReplyFrame
from callboard.jetstream.connection import NatsConnection

__all__ = ["ReplyBoxes"]


class JetStreamReplyBox(ReplyBox):
    """One request's private topic."""

    def __init__(self, boxes: ReplyBoxes, token: str, topic: str) -> None:
        self.topic = topic
        self._boxes = boxes
        self._token = token
        self._replies: asyncio.Queue[ReplyFrame] = asyncio.Queue()

    async def get(self) -> ReplyFrame:
        return await self._replies.get()

    def close(self) -> None:
        self._boxes.forget(self._token)

    def put(self, reply: ReplyFrame) -> None:
        """Take a reply in."""
        self._replies.put_nowait(reply)


class ReplyBoxes:
    """Hands out topics below one inbox and sorts what arrives; a reply to a closed one reaches nobody."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection
        self._inbox = connection.new_inbox()
        self._count = 0
        self._boxes: dict[str, JetStreamReplyBox] = {}

    async def start(self) -> None:
        """Listen. When this returns, the server knows: a reply to whoever asks now is not missed."""
        await self._connection.listen(self._on_reply, f"{self._inbox}.*")
        await self._connection.flush()

    def open(self) -> JetStreamReplyBox:
        """A new topic."""
        self._count += 1
        token = str(self._count)
        box = self._boxes[token] = JetStreamReplyBox(self, token, f"{self._inbox}.{token}")
        return box

    def holds(self, topic: str) -> bool:
        """Whether a topic is below this inbox."""
        return topic.startswith(f"{self._inbox}.")

    def forget(self, token: str) -> None:
        """Stop listening for one."""
        self._boxes.pop(token, None)

    def _on_reply(self, subject: str, _: str, body: bytes, headers: dict[str, str] | None) -> None:
        box = self._boxes.get(subject.rpartition(".")[2])
        if box is not None:
            box.put(ReplyFrame(headers or {}, body))
