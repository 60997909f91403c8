"""Lines of JSON between a parent and its workers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Self

import cattrs
import msgspec

__all__ = ["LineWriter", "Lines", "line_of"]


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


class LineWriter:
    """Writes lines and never waits: what the other end does not read yet is kept in memory."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport

    @classmethod
    async def open(cls, fd: int) -> Self:
        """On a pipe's end, which belongs to the writer from now on."""
        pipe = os.fdopen(fd, "wb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, pipe)
        return cls(transport)

    @property
    def is_idle(self) -> bool:
        """Whether the pipe has taken everything."""
        return not self._transport.get_write_buffer_size()

    def write(self, words: object) -> None:
        """Nothing happens when the other end is gone."""
        if not self._transport.is_closing():
            self._transport.write(line_of(words))

    def close(self) -> None:
        """Write what is left, as long as somebody reads it. Idempotent."""
        if not self._transport.is_closing():
            self._transport.close()


def line_of(words: object) -> bytes:
    """Attrs classes and plain values as one line."""
    return msgspec.json.encode(cattrs.unstructure(words)) + b"\n"
