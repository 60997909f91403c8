"""Dead letters, as an operator reads them."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import cast

import nats
from nats.js.errors import NotFoundError

from callboard.brokers.deadletter import DEAD_STREAM
from callboard.brokers.wire import Frame
from callboard.embedded import EmbeddedServer

__all__ = ["stored_letters"]


async def stored_letters(server: EmbeddedServer) -> list[Frame]:
    """The dead letters on a server, oldest first."""
    client = await nats.connect(server.url)
    try:
        js = client.jetstream()
        count = (await js.stream_info(DEAD_STREAM)).state.last_seq
        letters = [await js.get_msg(DEAD_STREAM, sequence) for sequence in range(1, count + 1)]
    except NotFoundError:
        return []
    finally:
        await client.close()
    return [
        Frame(letter.subject or "", dict(cast("dict[str, str]", letter.headers or {})), letter.data or b"")
        for letter in letters
    ]
