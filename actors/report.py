"""What a run ended with, beside what it should have ended with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isclose

from attrs import frozen
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from actors.figures import Figures
from actors.flights import AirportDelay, DisruptionsSummary, LedgerSummary, RebookingSummary
from actors.trace import tree_of
from callboard.testing import ReceivedSpan

__all__ = ["Check", "Outcome", "checks", "report"]


@frozen
class Outcome:
    """What the actors answered, and how long it took. Durations are seconds."""

    delays: Mapping[str, AirportDelay]
    ledger: LedgerSummary
    disruptions: DisruptionsSummary
    rebooking: RebookingSummary
    dead_letters: int
    publishing: float
    """From the first publish to the last acknowledgement."""
    handling: float
    """From the first publish until every mailbox was empty."""
    killed: bool
    """The supervisor was killed on the way, so work may have been repeated; nothing else may differ."""


@frozen
class Check:
    """One figure."""

    what: str
    expected: str
    found: str
    passed: bool


def checks(figures: Figures, outcome: Outcome) -> list[Check]:
    """Compare everything. `handled` and `retried` may be higher after a kill, all else is exact."""
    return [*_delay_checks(figures, outcome), *_count_checks(figures, outcome)]


def _delay_checks(figures: Figures, outcome: Outcome) -> Iterator[Check]:
    for airport, (departures, mean) in figures.delays.items():
        found = outcome.delays[airport]
        same = found.departures == departures and isclose(found.mean_delay, mean, abs_tol=1e-9)
        yield Check(
            f"{airport}, mean delay",
            f"{mean:.4f} min ({departures:,})",
            f"{found.mean_delay:.4f} min ({found.departures:,})",
            same,
        )


def _count_checks(figures: Figures, outcome: Outcome) -> Iterator[Check]:
    ledger, disruptions, rebooking = outcome.ledger, outcome.disruptions, outcome.rebooking
    repeated = outcome.killed
    yield _count("flights, distinct", figures.flights, ledger.distinct)
    yield _count("flights, handled", figures.flights, ledger.handled, or_more=repeated)
    yield _count("cancelled, rebooked", figures.rebooked, disruptions.rebooked)
    yield _count("cancelled, refused", figures.refused, disruptions.refused)
    yield _count("cancelled, given up", figures.dead, disruptions.failed)
    yield _count("dead letters", figures.dead, outcome.dead_letters)
    yield _count("retried", figures.retried, rebooking.calls - rebooking.flights, or_more=repeated)


def _count(what: str, expected: int, found: int, *, or_more: bool = False) -> Check:
    passed = found >= expected if or_more else found == expected
    return Check(what, f"{expected:,}{' or more' if or_more else ''}", f"{found:,}", passed)


def report(results: Iterable[Check], outcome: Outcome, trace: Sequence[ReceivedSpan]) -> RenderableType:
    """All of it, for a terminal."""
    return Group(
        _table(results),
        _speed(outcome),
        tree_of(trace) if trace else Text("no cancelled flight was traced to its end", "yellow"),
    )


def _table(results: Iterable[Check]) -> Table:
    table = Table("", "from the file", "from the actors", "")
    for check in results:
        mark = Text("ok", "green") if check.passed else Text("differs", "bold red")
        table.add_row(check.what, check.expected, check.found, mark)
    return table


def _speed(outcome: Outcome) -> Text:
    handled = outcome.ledger.distinct
    return Text(
        f"published {handled:,} messages in {outcome.publishing:.1f} s, {handled / outcome.publishing:,.0f} a second\n"
        f"handled by three actors each in {outcome.handling:.1f} s, {handled / outcome.handling:,.0f} a second\n"
    )
