"""Lines between a parent and its workers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from callboard.system.line import Lines, LineWriter
from tests.jetstream.eventually import eventually


@pytest.fixture
async def pipe() -> AsyncIterator[tuple[int, LineWriter]]:
    """The end that is read from, and a writer to it."""
    reading, writing = os.pipe()
    writer = await LineWriter.open(writing)
    yield reading, writer
    writer.close()
    await asyncio.sleep(0)


async def test_writer_does_not_wait_for_an_end_that_does_not_read_and_loses_nothing(
    pipe: tuple[int, LineWriter],
) -> None:
    reading, writer = pipe
    heard: list[bytes] = []

    for number in range(100):
        writer.write([number, "x" * 10_000])
    assert not writer.is_idle

    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: Lines(heard.append, lambda: None), os.fdopen(reading, "rb")
    )
    await eventually(lambda: len(heard) == 100)
    assert writer.is_idle
    assert [line[:5] for line in heard[:2]] == [b'[0,"x', b'[1,"x']
    transport.close()


async def test_writing_to_an_end_that_is_gone_changes_nothing(
    pipe: tuple[int, LineWriter], caplog: pytest.LogCaptureFixture
) -> None:
    reading, writer = pipe
    os.close(reading)

    for _ in range(10):
        writer.write(["anybody there?"])
        await asyncio.sleep(0)

    assert writer.is_idle
    assert not caplog.records
