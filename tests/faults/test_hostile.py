"""Messages that are broken or malicious end as dead letters, and nobody's connection breaks."""

from __future__ import annotations

from collections import Counter
from time import monotonic

import pytest

from callboard import Actor, command
from callboard.embedded import EmbeddedServer
from callboard.errors import HeaderError, MessageTooLargeError
from tests.faults.audit import read_letters, read_stream
from tests.faults.report import Figures
from tests.faults.wire import send_raw
from tests.jetstream.eventually import eventually
from tests.jetstream.service import service

UNREADABLE = [b"\xff\xfe\x00", b"{", b"", b"[" * 5000, b'{"a": 1}', b'"text"', b"1e999", b"null"]
"""Bodies that are no JSON, or not the number that the handler wants."""
BLOCKS = {
    "64 KB in one header": b"NATS/1.0\r\nX-Large: " + b"x" * 65_000 + b"\r\n\r\n",
    "invalid UTF-8 value": b"NATS/1.0\r\nX-Bad: \xff\xfe\xc3\r\n\r\n",
    "invalid UTF-8 name": b"NATS/1.0\r\n\xff\xfe: x\r\n\r\n",
    "folded line": b"NATS/1.0\r\nX-Fold: a\r\n  b\r\nX-Next: c\r\n\r\n",
    "bare line feeds": b"NATS/1.0\r\nX-Line: a\nX-Injected: b\r\n\r\n",
    "no colon": b"NATS/1.0\r\nno colon here\r\n\r\n",
    "empty name": b"NATS/1.0\r\n: x\r\n\r\n",
    "space before the colon": b"NATS/1.0\r\nX-Space : x\r\n\r\n",
    "null bytes": b"NATS/1.0\r\nX-Null: a\x00b\r\n\r\n",
    "unknown version": b"NATS/9.9\r\nX: y\r\n\r\n",
    "a status line": b"NATS/1.0 503 No Responders\r\n\r\n",
    "a status 100": b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n\r\n",
    "same header twice": b"NATS/1.0\r\nX: 1\r\nX: 2\r\nCallboard-Id: 1\r\nCallboard-Id: 2\r\n\r\n",
    "hostile system headers": b"NATS/1.0\r\nCallboard-Id: ../..\r\nCallboard-Deadline: never\r\n"
    b"Callboard-Version: -1\r\nCallboard-Status: \xf0\x9f\x92\xa5\r\n"
    b"Callboard-Reply-Topic: $SYS.>\r\ntraceparent: 00-x\r\n\r\n",
    "truncated block": b"NATS/1.0\r\nX: y",
}
"""Header blocks, sent over a socket."""


async def test_hostile_messages_are_dead_lettered_and_connections_stay(
    nats_server: EmbeddedServer, figures: Figures, caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[int] = []

    class Orders(Actor):
        concurrency = 4
        retry = ()

        @command("orders.place")
        async def place(self, number: int) -> None:
            handled.append(number)

    async with service(nats_server, Orders) as system:
        board = system.board
        answers = {
            name: await send_raw(nats_server.url, "orders.place", block, b"hostile %d" % number)
            for number, (name, block) in enumerate(BLOCKS.items())
        }
        for body in UNREADABLE:
            assert await send_raw(nats_server.url, "orders.place", b"NATS/1.0\r\n\r\n", body) == b"PONG"
        with pytest.raises(MessageTooLargeError):
            await board.publish("orders.place", "x" * 2_000_000)
        with pytest.raises(MessageTooLargeError):
            await board.publish("orders.place", 1, headers={"large": "x" * 2_000_000})
        for value in ("a\r\nNats-Msg-Id: stolen", "a\nb", "\x00", "\ud800"):
            with pytest.raises(HeaderError):
                await board.publish("orders.place", 1, headers={"note": value})
        good = monotonic()
        await board.publish("orders.place", 42)
        await eventually(lambda: handled == [42], within=10)
        seconds = monotonic() - good
        stored = [body for body, _ in await read_stream(nats_server.url, "ORDERS")]

        async def all_buried() -> bool:
            return len(await read_letters(nats_server.url)) >= len(stored) - 1

        await eventually(all_buried, within=30)

    letters = await read_letters(nats_server.url)
    refused = {name: answer for name, answer in answers.items() if answer != b"PONG"}
    figures(
        "undecodable body, wrong type, hostile headers, too large",
        sent=len(BLOCKS) + len(UNREADABLE),
        stored=len(stored) - 1,
        dead_letters=len(letters),
        refused_before_sending=6,
        good_one_behind_them_handled_after_s=seconds,
    )
    assert Counter(letter.body for letter in letters) == Counter(body for body in stored if body != b"42")
    assert all(letter.reason and letter.attempts == 1 for letter in letters)
    assert handled == [42]
    assert "disconnected" not in caplog.text
    assert "could not be read" not in caplog.text
    assert len(stored) == len(UNREADABLE) + len(BLOCKS) - len(refused) + 1
