"""What a run must end with, computed straight from the file and without any actor."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import frozen

from actors.airline import ATTEMPTS, BUSY_CALLS, Mood, mood_of

__all__ = ["MONTH", "Figures", "Row", "figures_of", "key_of", "read_rows"]

Row = Mapping[str, str | int | None]

MONTH = Path(__file__).parent / "data" / "flights-2013-01.csv.gz"

_TEXTS = frozenset({"carrier", "tailnum", "origin", "dest", "time_hour"})


@frozen
class Figures:
    """All counts are flights, but for `retried`, which counts the calls after the first."""

    flights: int
    delays: Mapping[str, tuple[int, float]]
    """Airport -> flights that departed, and their mean delay in minutes."""
    rebooked: int
    refused: int
    dead: int
    retried: int

    @property
    def cancelled(self) -> int:
        return self.rebooked + self.refused + self.dead


def read_rows() -> list[Row]:
    """The month as it is published: columns as keys, numbers as numbers, `NA` as None."""
    with gzip.open(MONTH, "rt", newline="") as file:
        records = csv.DictReader(file)
        return [{name: _value(name, text) for name, text in record.items()} for record in records]


def _value(name: str, text: str) -> str | int | None:
    if text == "NA":
        return None
    return text if name in _TEXTS else int(text)


def key_of(row: Row) -> str:
    """What names a flight; `Departure.key` must say the same."""
    return "{carrier}{flight}.{year}-{month:02}-{day:02}.{origin}.{sched_dep_time:04}".format_map(row)


def figures_of(rows: Iterable[Row]) -> Figures:
    """Count and average the rows, and foresee what the airline's desk will do."""
    rows = list(rows)
    moods = Counter(mood_of(key_of(row)) for row in rows if row["dep_time"] is None)
    return Figures(
        flights=len(rows),
        delays=_delays(rows),
        rebooked=moods[Mood.HELPFUL] + moods[Mood.BUSY],
        refused=moods[Mood.FULL],
        dead=moods[Mood.DOWN],
        retried=BUSY_CALLS * moods[Mood.BUSY] + (ATTEMPTS - 1) * moods[Mood.DOWN],
    )


def _delays(rows: Iterable[Row]) -> dict[str, tuple[int, float]]:
    minutes: dict[str, list[int]] = {}
    for row in rows:
        if isinstance(delay := row["dep_delay"], int):
            minutes.setdefault(str(row["origin"]), []).append(delay)
    return {airport: (len(all_), sum(all_) / len(all_)) for airport, all_ in sorted(minutes.items())}
