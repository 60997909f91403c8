"""The rounds of a run as a file, and what they say about the targets."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import cattrs
from attrs import field, frozen

from benchmarks.measure import Measure, Target
from benchmarks.runner import Outcome

__all__ = ["Results", "Spread", "Verdict", "spread_of", "verdicts"]


@frozen
class Spread:
    """A value over all rounds."""

    median: float
    lowest: float
    highest: float
    rounds: int


@frozen
class Verdict:
    """A target and what was measured."""

    target: Target
    spread: Spread | None
    """None: no round counts."""

    @property
    def word(self) -> str:
        """`met`, `not met`, `void`, or nothing where there is no limit."""
        if self.spread is None:
            return "void"
        if not self.target.limit:
            return ""
        return "met" if self.target.met(self.spread.median) else "not met"


@frozen
class Results:
    """One run of the suite."""

    environment: dict[str, str]
    outcomes: list[Outcome] = field(factory=list[Outcome])
    quick: bool = False
    when: str = field(factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))

    def write(self, target: Path) -> None:
        """As JSON."""
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(cattrs.unstructure(self), indent=1) + "\n")

    @classmethod
    def read(cls, source: Path) -> Results:
        """What `write` wrote."""
        return cattrs.structure(json.loads(source.read_text()), cls)


def verdicts(measure: Measure, outcome: Outcome) -> Iterator[Verdict]:
    """Each target's value within each round, over the rounds in which all that it needs took part."""
    for target in measure.targets:
        values: list[float] = []
        for round_ in outcome.rounds:
            with suppress(KeyError):
                values.append(target.value(round_))
        yield Verdict(target, spread_of(values))


def spread_of(values: Sequence[float]) -> Spread | None:
    """Median and extremes; None of nothing."""
    return Spread(statistics.median(values), min(values), max(values), len(values)) if values else None
