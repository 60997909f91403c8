"""The figures that a run is checked against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from actors.airline import mood_of
from actors.figures import Row, figures_of, key_of
from actors.flights import Departure
from callboard import JSON


def test_the_month_has_the_flights_and_mean_delays_of_its_note(month: Sequence[Row]) -> None:
    figures = figures_of(month)
    assert figures.flights == 27_004
    assert figures.cancelled == 521
    assert {airport: (count, round(mean, 4)) for airport, (count, mean) in figures.delays.items()} == {
        "EWR": (9_655, 14.9057),
        "JFK": (9_061, 8.6158),
        "LGA": (7_767, 5.6416),
    }


def test_what_is_missing_in_the_file_is_null_as_often_as_its_note_says(month: Sequence[Row]) -> None:
    missing = Counter(name for row in month for name, value in row.items() if value is None)
    assert (missing["dep_time"], missing["arr_time"], missing["tailnum"]) == (521, 536, 155)


def test_numbers_are_numbers_and_names_stay_text(month: Sequence[Row]) -> None:
    assert month[0] == {
        "year": 2013,
        "month": 1,
        "day": 1,
        "dep_time": 517,
        "sched_dep_time": 515,
        "dep_delay": 2,
        "arr_time": 830,
        "sched_arr_time": 819,
        "arr_delay": 11,
        "carrier": "UA",
        "flight": 1545,
        "tailnum": "N14228",
        "origin": "EWR",
        "dest": "IAH",
        "air_time": 227,
        "distance": 1400,
        "time_hour": "2013-01-01T10:00:00Z",
    }


def test_no_two_flights_have_the_same_key(month: Sequence[Row]) -> None:
    assert len({key_of(row) for row in month}) == len(month)


def test_the_actors_name_each_flight_as_the_file_does(month: Sequence[Row]) -> None:
    read: list[Any] = [JSON.loads(JSON.encode(row), Departure) for row in month[::50]]
    assert [departure.key for departure in read] == [key_of(row) for row in month[::50]]


@pytest.mark.parametrize(
    ("flight", "mood"),
    [
        ("EV4308.2013-01-01.EWR.1630", "helpful"),
        ("B6125.2013-01-01.JFK.0600", "full"),
        ("EV3849.2013-01-02.EWR.1321", "busy"),
        ("AA1925.2013-01-01.LGA.1500", "down"),
    ],
)
def test_the_mood_of_the_desk_depends_on_the_flight_alone(flight: str, mood: str) -> None:
    assert mood_of(flight).value == mood
