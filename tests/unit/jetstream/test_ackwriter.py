"""Acks go out together, in order, and none ends the writer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from nats.errors import OutboundBufferLimitError

from callboard.jetstream.ackwriter import AckWriter


class Wire:
    """Takes what is written, unless something is in the way."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.problem: Exception | None = None

    async def write(self, subjects: Sequence[str]) -> None:
        if self.problem is not None:
            raise self.problem
        self.written.append([*subjects])


async def test_acks_of_one_turn_of_the_loop_are_one_write() -> None:
    wire = Wire()
    acks = AckWriter(wire.write)
    acks.start()
    acks.ack("a")
    acks.ack("b")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert wire.written == [["a", "b"]]
    await acks.stop()


async def test_stop_sends_what_is_left() -> None:
    wire = Wire()
    acks = AckWriter(wire.write)
    acks.start()
    acks.ack("a")
    await acks.stop()
    await acks.stop()
    assert wire.written == [["a"]]


@pytest.mark.parametrize("problem", [OutboundBufferLimitError(), OSError("no route")])
async def test_acks_that_cannot_be_sent_are_lost_and_later_ones_are_not(
    problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire()
    acks = AckWriter(wire.write)
    acks.start()
    wire.problem = problem
    acks.ack("a")
    acks.ack("b")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    wire.problem = None
    acks.ack("c")
    await acks.stop()
    assert wire.written == [["c"]]
    assert "2 acks are lost" in caplog.text
