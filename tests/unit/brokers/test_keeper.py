"""The process's one timer, and what it says of the event loop."""

from __future__ import annotations

import time

from callboard.brokers.keeper import Keeper
from tests.jetstream.eventually import eventually


async def test_event_loop_that_was_blocked_shows_for_a_while() -> None:
    """Longer than the blocking itself: whoever collects comes every few seconds."""
    keeper = Keeper()
    ticks: list[float] = []

    def tick(now: float) -> tuple[()]:
        ticks.append(now)
        return ()

    keeper.watch(tick)
    keeper.start()
    await eventually(lambda: len(ticks) > 0)
    time.sleep(0.5)  # noqa: ASYNC251 - what a handler must not do
    before = len(ticks)
    await eventually(lambda: len(ticks) > before + 2)

    assert 0.3 < keeper.late < 5
    await keeper.stop()
