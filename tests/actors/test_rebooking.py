"""Cancelled flights: from the row of the file to new seats, a refusal, or a dead letter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.flights import DisruptionsSummary, RebookingSummary, flights
from callboard import RemoteError
from callboard.testing import ActorTest


@pytest.fixture
async def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ActorTest]:
    monkeypatch.setenv("FLIGHTS_STORE", str(tmp_path / "flights.sqlite"))
    async with ActorTest(flights) as system:
        yield system


def cancelled(carrier: str, flight: int, origin: str, scheduled: int, day: int = 1) -> dict[str, object]:
    """What the file says of a cancelled flight. How the airline's desk feels about it depends on nothing else."""
    row = {"year": 2013, "month": 1, "day": day, "carrier": carrier, "flight": flight, "origin": origin}
    return {**row, "sched_dep_time": scheduled, "dep_time": None, "dep_delay": None}


HELPFUL = cancelled("EV", 4308, "EWR", 1630)
FULL = cancelled("B6", 125, "JFK", 600)
BUSY = cancelled("EV", 3849, "EWR", 1321, day=2)
DOWN = cancelled("AA", 1925, "LGA", 1500)


@pytest.mark.parametrize(
    ("row", "outcome", "calls"),
    [
        (HELPFUL, DisruptionsSummary(rebooked=1, refused=0, failed=0), 1),
        (FULL, DisruptionsSummary(rebooked=0, refused=1, failed=0), 1),
        (BUSY, DisruptionsSummary(rebooked=1, refused=0, failed=0), 3),
        (DOWN, DisruptionsSummary(rebooked=0, refused=0, failed=1), 4),
    ],
    ids=["helpful", "full", "busy", "down"],
)
async def test_desk_is_asked_until_it_answers_or_four_times(
    system: ActorTest, row: dict[str, object], outcome: DisruptionsSummary, calls: int
) -> None:
    await system.publish("flights.departed", row)
    await system.advance(2)  # its two delays take less
    await system.settled()
    assert await system.request("disruptions.summary", returns=DisruptionsSummary) == outcome
    assert await system.request("rebooking.summary", returns=RebookingSummary) == RebookingSummary(1, calls)


async def test_flight_that_is_given_up_is_a_dead_letter_with_its_reason(system: ActorTest) -> None:
    await system.publish("flights.departed", DOWN)
    await system.advance(2)
    await system.settled()
    (letter,) = system.dead_letters
    assert (letter.topic, letter.attempts, letter.error_type) == ("passengers.rebook", 4, "DeskDownError")


async def test_row_until_answer_is_one_trace(system: ActorTest) -> None:
    await system.publish("flights.departed", HELPFUL)
    await system.settled()
    (trace,) = {span.context.trace_id for span in system.spans if span.context}
    names = [span.name for span in system.spans]
    assert trace
    assert {"publish flights.departed", "process passengers.rebook", "process passengers.answered"} <= set(names)


async def test_lost_acknowledgement_asks_the_desk_twice_and_counts_the_flight_once(system: ActorTest) -> None:
    system.lose_acks()
    await system.publish("passengers.rebook", {"flight": "EV4308.2013-01-01.EWR.1630"})
    await system.advance(35)
    await system.settled()
    assert await system.request("rebooking.summary", returns=RebookingSummary) == RebookingSummary(flights=1, calls=2)


async def test_what_the_desk_was_asked_survives_a_crash_of_the_actor(system: ActorTest) -> None:
    await system.publish("passengers.rebook", {"flight": "EV4308.2013-01-01.EWR.1630"})
    await system.settled()
    await system.crash("Rebooking")
    assert await system.request("rebooking.summary", returns=RebookingSummary) == RebookingSummary(flights=1, calls=1)


async def test_airport_that_no_flight_left_is_refused(system: ActorTest) -> None:
    with pytest.raises(RemoteError, match="no flight has departed from 'LHR'") as refused:
        await system.request("airports.LHR.delay")
    assert refused.value.status == 404
