"""The page on metrics says what there is."""

from __future__ import annotations

import re
from pathlib import Path

from callboard.telemetry.instrument import INSTRUMENTS

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "metrics.md").read_text()


def test_table_of_metrics_is_that_of_the_code() -> None:
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in PAGE.splitlines()]

    shown = [row for row in rows if len(row) == 5 and row[0].startswith("`")]

    assert shown == [
        (
            f"`{spec.name}`",
            spec.kind.value,
            spec.unit,
            spec.description,
            ", ".join(f"`{name}`" for name in spec.attributes),
        )
        for spec in INSTRUMENTS
    ]


def test_alerts_are_on_metrics_that_there_are() -> None:
    alerts = PAGE.split("## What to alert on")[1]
    named = set(re.findall(r"(?:callboard|messaging_client)_[a-z_]+(?=[\[{ )<>`])", alerts))
    labels = {name.replace(".", "_") for spec in INSTRUMENTS for name in spec.attributes}

    known = {spec.prometheus for spec in INSTRUMENTS} | {"callboard_workers", "callboard_workers_answered"}

    assert named - labels <= known
    assert len(named - labels) > 10
