"""One child object, and work that runs to its end."""

from __future__ import annotations

import asyncio

import pytest

from callboard.supervision.incarnation import Incarnation, uninterrupted


class Slow:
    """Takes until `done` to stop."""

    name = "slow"
    summary = ""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.graces: list[float] = []

    async def start(self) -> None: ...

    async def wait(self) -> None: ...

    async def drain(self) -> None: ...

    async def stop(self, grace: float) -> None:
        self.graces.append(grace)
        await self.done.wait()


async def test_cancelled_caller_waits_for_the_end_of_the_work_and_is_cancelled_then() -> None:
    done, finished = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await done.wait()
        finished.set()

    caller = asyncio.create_task(uninterrupted(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    done.set()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert finished.is_set()


async def test_what_the_work_raises_reaches_the_caller() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await uninterrupted(work())


async def test_stop_during_a_stop_passes_its_grace_on_and_waits_for_the_same_end() -> None:
    child = Slow()
    incarnation = Incarnation(child)
    first = asyncio.create_task(incarnation.stop(30.0))
    second = asyncio.create_task(incarnation.stop(1.0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not first.done()
    assert not second.done()

    child.done.set()
    await asyncio.gather(first, second)

    assert child.graces == [30.0, 1.0]


async def test_stop_after_the_end_does_not_reach_the_child() -> None:
    child = Slow()
    child.done.set()
    incarnation = Incarnation(child)

    await incarnation.stop(1.0)
    await incarnation.stop(1.0)

    assert child.graces == [1.0]
