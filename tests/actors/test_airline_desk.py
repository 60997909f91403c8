"""The desk: what it answers, and what its book says after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.airline import AirlineDesk, DeskDownError, open_desk

HELPFUL = "EV4308.2013-01-01.EWR.1630"
FULL = "B6125.2013-01-01.JFK.0600"
BUSY = "EV3849.2013-01-02.EWR.1321"
DOWN = "AA1925.2013-01-01.LGA.1500"


async def unanswered(desk: AirlineDesk, flight: str, calls: int) -> int:
    """How many of so many calls the desk does not answer."""
    missed = 0
    for _ in range(calls):
        try:
            await desk.seats(flight)
        except DeskDownError:
            missed += 1
    return missed


async def test_a_helpful_desk_gives_the_same_seats_every_time(store_path: Path) -> None:
    async with open_desk() as desk:
        assert await desk.seats(HELPFUL) == await desk.seats(HELPFUL) > 0


async def test_a_full_flight_has_no_seats(store_path: Path) -> None:
    async with open_desk() as desk:
        assert await desk.seats(FULL) == 0


@pytest.mark.parametrize(("flight", "missed"), [(BUSY, 2), (DOWN, 6)])
async def test_a_busy_desk_answers_the_third_call_and_one_that_is_down_none(
    store_path: Path, flight: str, missed: int
) -> None:
    async with open_desk() as desk:
        assert await unanswered(desk, flight, calls=6) == missed


async def test_the_desk_still_knows_the_calls_from_before_a_crash(store_path: Path) -> None:
    async with open_desk() as desk:
        assert await unanswered(desk, BUSY, calls=1) == 1
    async with open_desk() as desk:
        assert await unanswered(desk, BUSY, calls=2) == 1


async def test_the_book_counts_calls_and_flights(store_path: Path) -> None:
    async with open_desk() as desk:
        assert await desk.calls() == (0, 0)
        await unanswered(desk, BUSY, calls=3)
        await unanswered(desk, HELPFUL, calls=1)
        assert await desk.calls() == (4, 2)
