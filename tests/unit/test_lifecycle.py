"""Resources: set up once, destroyed once, whoever calls and however often."""

from __future__ import annotations

import asyncio

import pytest

from callboard.errors import ClosedError
from callboard.lifecycle import Resource


class Tap(Resource):
    """Writes down what happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.trouble: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def _setup(self) -> None:
        self.seen.append("setup")
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble

    async def _destroy(self) -> None:
        self.seen.append("destroy")


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_block_sets_up_and_destroys() -> None:
    async with Tap() as tap:
        assert tap.is_ready()
        assert tap.seen == ["setup"]

    assert not tap.is_ready()
    assert tap.seen == ["setup", "destroy"]


async def test_block_destroys_when_it_is_left_by_an_error() -> None:
    tap = Tap()
    with pytest.raises(KeyError):
        async with tap:
            raise KeyError

    assert tap.seen == ["setup", "destroy"]


async def test_second_call_does_nothing() -> None:
    tap = Tap()
    for step in (tap.setup, tap.setup, tap.destroy, tap.destroy):
        await step()

    assert tap.seen == ["setup", "destroy"]


async def test_two_tasks_set_up_once() -> None:
    tap = Tap()
    tap.gate.clear()
    both = asyncio.gather(tap.setup(), tap.setup())
    await settle()
    tap.gate.set()
    await both

    assert tap.seen == ["setup"]


async def test_destroyed_resource_stays_closed_and_says_so() -> None:
    tap = Tap()
    async with tap:
        pass

    with pytest.raises(ClosedError, match="Tap is closed; create a new one"):
        await tap.setup()


async def test_resource_that_was_never_set_up_closes_without_destroying() -> None:
    tap = Tap()
    await tap.destroy()

    assert tap.seen == []
    with pytest.raises(ClosedError):
        await tap.setup()


async def test_failed_setup_gives_back_and_can_be_tried_again() -> None:
    tap = Tap()
    tap.trouble = OSError("no water")
    with pytest.raises(OSError, match="no water"):
        await tap.setup()
    assert (tap.seen, tap.is_ready()) == (["setup", "destroy"], False)

    tap.trouble = None
    await tap.setup()

    assert tap.is_ready()


async def test_cancelled_setup_gives_back() -> None:
    tap = Tap()
    tap.gate.clear()
    setting_up = asyncio.ensure_future(tap.setup())
    await settle()
    setting_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await setting_up

    assert (tap.seen, tap.is_ready()) == (["setup", "destroy"], False)


async def test_destroy_during_setup_waits_for_it_and_then_destroys() -> None:
    tap = Tap()
    tap.gate.clear()
    setting_up = asyncio.ensure_future(tap.setup())
    await settle()
    destroying = asyncio.ensure_future(tap.destroy())
    await settle()
    assert not destroying.done()

    tap.gate.set()
    await asyncio.gather(setting_up, destroying)

    assert (tap.seen, tap.is_ready()) == (["setup", "destroy"], False)
