"""What the demonstration prints, and when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

import pytest
from attrs import evolve
from rich.console import Console

from actors.figures import Figures
from actors.flights import AirportDelay, DisruptionsSummary, LedgerSummary, RebookingSummary
from actors.report import Outcome, checks, report
from actors.trace import tree_of
from callboard.testing import ReceivedSpan

FIGURES = Figures(flights=10, delays={"EWR": (6, 2.5)}, rebooked=2, refused=1, dead=1, retried=3)
RIGHT = Outcome(
    delays={"EWR": AirportDelay("EWR", 6, 2.5)},
    ledger=LedgerSummary(handled=10, distinct=10),
    disruptions=DisruptionsSummary(rebooked=2, refused=1, failed=1),
    rebooking=RebookingSummary(flights=4, calls=7),
    dead_letters=1,
    publishing=0.5,
    handling=2.0,
    killed=False,
)


def differing(outcome: Outcome) -> list[str]:
    return [check.what for check in checks(FIGURES, outcome) if not check.passed]


def test_a_run_that_agrees_with_the_file_passes() -> None:
    assert differing(RIGHT) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"delays": {"EWR": AirportDelay("EWR", 6, 2.4999)}}, "EWR, mean delay"),
        ({"delays": {"EWR": AirportDelay("EWR", 5, 2.5)}}, "EWR, mean delay"),
        ({"ledger": LedgerSummary(handled=10, distinct=9)}, "flights, distinct"),
        ({"ledger": LedgerSummary(handled=11, distinct=10)}, "flights, handled"),
        ({"disruptions": DisruptionsSummary(rebooked=1, refused=1, failed=1)}, "cancelled, rebooked"),
        ({"disruptions": DisruptionsSummary(rebooked=2, refused=0, failed=1)}, "cancelled, refused"),
        ({"disruptions": DisruptionsSummary(rebooked=2, refused=1, failed=2)}, "cancelled, given up"),
        ({"dead_letters": 2}, "dead letters"),
        ({"rebooking": RebookingSummary(flights=4, calls=8)}, "retried"),
    ],
)
def test_one_figure_that_differs_is_named(change: dict[str, Any], named: str) -> None:
    assert differing(evolve(RIGHT, **change)) == [named]


def test_after_a_kill_work_may_have_been_repeated_but_not_lost() -> None:
    killed = evolve(RIGHT, killed=True)
    repeated = evolve(
        killed, ledger=LedgerSummary(handled=12, distinct=10), rebooking=RebookingSummary(flights=4, calls=9)
    )
    lost = evolve(killed, ledger=LedgerSummary(handled=12, distinct=9))
    assert (differing(repeated), differing(lost)) == ([], ["flights, distinct"])


def span(name: str, identifier: str, parent: str, start: int, **attributes: str) -> ReceivedSpan:
    return ReceivedSpan(
        name=name,
        kind="INTERNAL",
        trace_id="1",
        span_id=identifier,
        parent_id=parent,
        start=start,
        end=start + 2_000_000,
        attributes={f"callboard.{name}": value for name, value in attributes.items()},
        events=[],
        links=[],
        status_code="UNSET",
        status_message="",
        service="flights",
        resource={},
    )


def printed(outcome: Outcome, trace: Sequence[ReceivedSpan]) -> str:
    console = Console(file=StringIO(), width=100)
    console.print(report(checks(FIGURES, outcome), outcome, trace))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_report_shows_both_figures_and_the_speed() -> None:
    text = printed(evolve(RIGHT, dead_letters=5), [])
    assert any({"dead", "letters", "1", "5", "differs"} <= set(line.split()) for line in text.splitlines())
    assert "handled by three actors each in 2.0 s, 5 a second" in text


def test_a_trace_is_drawn_with_each_span_below_its_cause() -> None:
    tree = tree_of(
        [
            span("process flights.departed", "b", "a", 10, actor="Disruptions", settlement="ack"),
            span("publish flights.departed", "a", "", 20),
            span("publish passengers.rebook", "c", "b", 30),
        ]
    )
    assert str(tree.label) == "publish flights.departed  2 ms"
    (child,) = tree.children
    assert str(child.label) == "process flights.departed  2 ms, Disruptions, ack"
    assert [str(grandchild.label) for grandchild in child.children] == ["publish passengers.rebook  2 ms"]
