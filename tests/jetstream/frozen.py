"""A server that holds its connections and answers nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from callboard.embedded import EmbeddedServer
from tests.jetstream.eventually import eventually

__all__ = ["frozen"]


@asynccontextmanager
async def frozen(server: EmbeddedServer) -> AsyncGenerator[None]:
    """Freeze the server inside the block, which begins when it answers nothing any more."""
    server.pause()
    try:
        await eventually(lambda: _silent(server))
        yield
    finally:
        server.resume()


async def _silent(server: EmbeddedServer) -> bool:
    """Whether a new connection, which the operating system accepts, hears no greeting."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        async with asyncio.timeout(0.1):
            await reader.readline()
    except TimeoutError:
        return True
    finally:
        writer.close()
    return False
