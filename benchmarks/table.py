"""The results on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Measure
from benchmarks.result import Spread, spread_of, verdicts
from benchmarks.runner import Outcome

__all__ = ["contenders_of", "number", "print_outcome"]

COLOURS = {"met": "green", "not met": "red", "void": "bold red"}
HIDDEN = {"handled", "missing", "wrong", "acknowledged", "seconds", "cost_us", "bytes"}
"""Figures that only say whether a run counts, or repeat another one."""


def print_outcome(console: Console, measure: Measure, outcome: Outcome) -> None:
    """The contenders' own figures, then the targets."""
    console.print(f"\n[bold]{measure.title}[/] ({outcome.size.messages:,} messages, {outcome.size.rounds} rounds)")
    own = Table("contender", "figure", "median", "lowest to highest", box=None)
    for contender, figure, spread in contenders_of(outcome):
        own.add_row(contender, figure, number(spread.median), f"{number(spread.lowest)} to {number(spread.highest)}")
    console.print(own)
    targets = Table("target", "limit", "median", "lowest to highest", "rounds", "", box=None)
    for verdict in verdicts(measure, outcome):
        target, found = verdict.target, verdict.spread
        cells = (number(found.median), f"{number(found.lowest)} to {number(found.highest)}") if found else ("", "")
        targets.add_row(
            target.what,
            target.limit,
            *cells,
            str(found.rounds if found else 0),
            f"[{COLOURS.get(verdict.word, 'default')}]{verdict.word}[/]",
        )
    console.print(targets)
    for text in outcome.void:
        console.print(f"[bold red]void[/] {text}", highlight=False)


def contenders_of(outcome: Outcome) -> Iterator[tuple[str, str, Spread]]:
    """Contender, figure and its spread over the rounds, for the figures that say something."""
    names = dict.fromkeys(
        (contender, figure) for round_ in outcome.rounds for contender in round_ for figure in round_[contender]
    )
    for contender, figure in names:
        spread = spread_of([round_[contender][figure] for round_ in outcome.rounds if contender in round_])
        if spread is not None and figure not in HIDDEN and not figure.startswith("at_"):
            yield contender, figure, spread


def number(value: float) -> str:
    """Three significant digits, or whole thousands with separators."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
