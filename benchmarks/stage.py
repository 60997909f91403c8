"""Where contenders appear: one server, a fresh stream for each run, and the server's word on what became of it."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import nats
from attrs import define, field
from nats.aio.client import Client
from nats.js import JetStreamContext

from benchmarks.stock import write_lines
from callboard.embedded import EmbeddedServer

__all__ = ["Stage", "open_stage"]

CHUNK = 1000
"""Messages on their way to the server without an acknowledgement; above 10,000 it would drop some."""
SETTLED = 10.0
"""Seconds that the server gets for the last acknowledgements after a contender has ended."""


@define(eq=False)
class Stage:
    """A server with file storage, for the whole suite."""

    url: str
    folder: Path
    _client: Client
    _stream: JetStreamContext
    _numbers: count[int] = field(init=False, factory=count)

    @asynccontextmanager
    async def stream(self, waiting: Iterable[bytes]) -> AsyncGenerator[str]:
        """A stream that nobody used before, with messages in it; it is deleted afterwards."""
        name = f"BENCH{next(self._numbers)}"
        subject = name.lower()
        await self._stream.add_stream(name=name, subjects=[subject, f"{subject}.>"], allow_msg_ttl=True)
        try:
            await self._fill(f"{subject}.departed", waiting)
            yield name
        finally:
            await self._stream.delete_stream(name)

    async def _fill(self, topic: str, bodies: Iterable[bytes]) -> None:
        """The acknowledgement of one says that all before it, on the same connection, are stored."""
        for number, body in enumerate(bodies, 1):
            if number % CHUNK:
                await self._client.publish(topic, body)
            else:
                await self._stream.publish(topic, body, timeout=30)
        await self._client.flush()

    async def stored(self, stream: str) -> int:
        """How many messages a stream holds."""
        return (await self._stream.stream_info(stream)).state.messages

    async def unsettled(self, stream: str) -> str:
        """What its consumers still owe when everything had time to arrive; empty when all is acknowledged."""
        until = monotonic() + SETTLED
        while (owed := await self._owed(stream)) and monotonic() < until:
            await asyncio.sleep(0.05)
        return owed

    async def _owed(self, stream: str) -> str:
        consumers = await self._stream.consumers_info(stream)
        owed = sum((consumer.num_pending or 0) + (consumer.num_ack_pending or 0) for consumer in consumers)
        return "" if consumers and not owed else f"{owed} of {len(consumers)} consumers' messages not acknowledged"

    def lines(self, messages: int) -> Path:
        """A file with that many flights to send, made once."""
        target = self.folder / f"flights-{messages}.jsonl"
        if not target.exists():
            write_lines(target, messages)
        return target


@asynccontextmanager
async def open_stage() -> AsyncGenerator[Stage]:
    """Start the server; everything is gone afterwards."""
    with TemporaryDirectory(prefix="callboard-bench-") as folder:
        async with EmbeddedServer(port=0, store=Path(folder) / "nats") as server:
            client = await nats.connect(server.url)
            try:
                yield Stage(server.url, Path(folder), client, client.jetstream(timeout=30))
            finally:
                await client.close()
