"""Messages that no client library would send, byte by byte over a socket."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

__all__ = ["send_raw"]


async def send_raw(nats_url: str, subject: str, headers: bytes, body: bytes) -> bytes:
    """Publish with a header block exactly as it is, on a connection of its own.

    Returns what the server said: `PONG` when it took the message, `-ERR ...` when it did not.
    """
    address = urlsplit(nats_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        await reader.readline()  # INFO
        writer.write(b'CONNECT {"headers": true, "verbose": false, "lang": "none", "version": "0"}\r\n')
        sizes = b"%d %d" % (len(headers), len(headers) + len(body))
        writer.write(b"HPUB %s %s\r\n%s%s\r\nPING\r\n" % (subject.encode(), sizes, headers, body))
        async with asyncio.timeout(10):
            return (await reader.readline()).strip()
    finally:
        writer.close()
