"""Lines of JSON between a parent and its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Lines"]


class Lines(asyncio.Protocol):
    """Calls `hear` with each line that arrives, and `ended` once when the other end is closed."""

    def __init__(self, hear: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._hear = hear
        self._ended = ended
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """What follows the last line end waits for its own."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._hear(line)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The other end is closed, or its process is gone."""
        self._ended()
