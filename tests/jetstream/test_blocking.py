"""The blocking board, from threads and scripts."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from callboard import Actor, ClosedError, RemoteError, RequestTimeoutError, query
from callboard.blocking import BlockingBoard, connect
from callboard.embedded import EmbeddedServer
from callboard.errors import CallboardError, NoServerError
from tests.jetstream.service import service


class Sums(Actor):
    concurrency = 8

    @query("sums.add")
    async def add(self, numbers: list[int]) -> int:
        return sum(numbers)

    @query("sums.never")
    async def never(self) -> None:
        await asyncio.Event().wait()

    @query("sums.fail", retry=[])
    async def fail(self) -> None:
        raise ValueError("no")


async def test_many_threads_publish_and_ask_on_one_board(nats_server: EmbeddedServer) -> None:
    def work() -> list[int]:
        with connect(nats_server.url) as board:
            assert board.servers == nats_server.url

            def ask(number: int) -> int:
                return board.request("sums.add", [number, 1], returns=int)

            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(ask, range(50)))
            receipts = [board.publish("sums.noted", n).sequence for n in range(3)]
            assert receipts == sorted(receipts)
            with pytest.raises(RemoteError):
                board.request("sums.fail")
            with pytest.raises(RequestTimeoutError):
                board.request("sums.never", timeout=0.2)
            return answers

    async with service(nats_server, Sums):
        assert await asyncio.to_thread(work) == [n + 1 for n in range(50)]
    assert not [thread for thread in threading.enumerate() if thread.name == "callboard blocking"]


async def test_async_code_is_told_to_use_the_other_one(nats_server: EmbeddedServer) -> None:
    with pytest.raises(CallboardError, match=r"would stop the event loop.*use connect\(\)"), connect(nats_server.url):
        pass

    boards: list[BlockingBoard] = []
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        with connect(nats_server.url) as board:
            boards.append(board)
            begun.set()
            end.wait()

    holding = asyncio.create_task(asyncio.to_thread(hold))
    await asyncio.to_thread(begun.wait)
    with pytest.raises(CallboardError, match=r"would stop the event loop that runs here; use callboard.connect\(\)"):
        boards[0].publish("sums.noted", 1)
    end.set()
    await holding
    with pytest.raises(ClosedError):
        await asyncio.to_thread(boards[0].publish, "sums.noted", 1)


async def test_board_of_another_process_is_refused(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        with connect(nats_server.url) as board:
            monkeypatch.setattr("callboard.blocking.os.getpid", lambda: -1)
            with pytest.raises(CallboardError, match="connect in each process"):
                board.publish("sums.noted", 1)
            monkeypatch.setattr("callboard.blocking.os.getpid", os.getpid)

    await asyncio.to_thread(work)


async def test_without_a_server_nothing_is_left_behind(nats_server: EmbeddedServer) -> None:
    nats_server.kill()

    def work() -> None:
        with pytest.raises(NoServerError), connect(nats_server.url):
            pass

    await asyncio.to_thread(work)
    assert not [thread for thread in threading.enumerate() if thread.name == "callboard blocking"]
