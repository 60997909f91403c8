"""Private reply topics on one subscription."""

from __future__ import annotations

from functools import partial

from callboard.brokers.transport import ReplyBox, ReplyFrame
from callboard.jetstream.connection import NatsConnection

__all__ = ["ReplyBoxes"]


class ReplyBoxes:
    """Hands out topics below one inbox and sorts what arrives; a reply to a closed one reaches nobody."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection
        self._inbox = connection.new_inbox()
        self._count = 0
        self._boxes: dict[str, ReplyBox] = {}

    async def start(self) -> None:
        """Listen. When this returns, the server knows: a reply to whoever asks now is not missed."""
        await self._connection.listen(self._on_reply, f"{self._inbox}.*")
        await self._connection.flush()

    def open(self) -> ReplyBox:
        """A new topic."""
        self._count += 1
        token = str(self._count)
        box = self._boxes[token] = ReplyBox(f"{self._inbox}.{token}", partial(self._boxes.pop, token, None))
        return box

    def holds(self, topic: str) -> bool:
        """Whether a topic is below this inbox."""
        return topic.startswith(f"{self._inbox}.")

    def _on_reply(self, subject: str, _: str, body: bytes, headers: dict[str, str] | None) -> None:
        box = self._boxes.get(subject.rpartition(".")[2])
        if box is not None:
            box.put(ReplyFrame(headers or {}, body))
