"""The dashboard and the alerts name the metrics that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest

from callboard.telemetry.instrument import INSTRUMENTS, InstrumentKind, InstrumentSpec
from tests.observability import promql
from tests.observability.stack import DASHBOARD, RULES, expressions, panels

_SPANS = frozenset({"service_name", "span_name", "span_kind", "status_code"})
_OTHERS: Mapping[str, frozenset[str]] = {
    # What the spanmetrics connector makes of spans.
    "traces_span_metrics_calls_total": _SPANS,
    "traces_span_metrics_duration_milliseconds_bucket": _SPANS,
    # What Prometheus knows of a target, and the exporter of a resource.
    "up": frozenset(),
    "target_info": frozenset(),
}
_EVERYWHERE = {"job", "instance"}
"""Labels of the resource (service.name, service.instance.id) that each series has."""


def prometheus_names(instrument: InstrumentSpec) -> list[str]:
    if instrument.kind is not InstrumentKind.HISTOGRAM:
        return [instrument.prometheus]
    return [instrument.prometheus + suffix for suffix in ("_bucket", "_count", "_sum")]


def known() -> dict[str, set[str]]:
    """Every metric in Prometheus' words, with its labels."""
    found = {name: set(labels) for name, labels in _OTHERS.items()}
    for instrument in INSTRUMENTS:
        labels = {attribute.replace(".", "_") for attribute in instrument.attributes}
        found |= dict.fromkeys(prometheus_names(instrument), labels)
    return {name: labels | {"le"} if name.endswith("_bucket") else labels for name, labels in found.items()}


@pytest.mark.parametrize(("place", "expression"), list(expressions()))
def test_an_expression_names_metrics_and_labels_that_exist(place: str, expression: str) -> None:
    names = promql.metrics(expression)
    assert names, expression
    assert names <= known().keys()
    allowed = _EVERYWHERE.union(*(known()[name] for name in names))
    assert promql.labels(expression) <= allowed


def drawn() -> set[str]:
    return {name for panel in panels() for target in panel["targets"] for name in promql.metrics(target["expr"])}


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.name)
def test_every_metric_stands_on_the_dashboard(instrument: InstrumentSpec) -> None:
    assert drawn().intersection(prometheus_names(instrument))


def shown_labels() -> Iterator[tuple[str, str, set[str]]]:
    """Title, expression, and the labels in what a person reads about its series."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"], set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    for rule in RULES:
        texts = " ".join(rule["annotations"].values())
        yield rule["alert"], rule["expr"], set(re.findall(r"\$labels\.(\w+)", texts))


@pytest.mark.parametrize(("title", "expression", "shown"), list(shown_labels()))
def test_a_legend_shows_labels_that_are_left(title: str, expression: str, shown: set[str]) -> None:
    whole = expression.startswith("up ")  # not grouped: it keeps every label
    assert shown <= (_EVERYWHERE if whole else promql.labels(expression))


def test_every_variable_is_one_of_the_dashboard() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = {name for _, expression in expressions() for name in re.findall(r'"\$(\w+)"', expression)}
    assert used == variables


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    taken = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
