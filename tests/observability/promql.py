"""Which metrics and labels a PromQL expression names."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser
from promql_parser import AggregateExpr, BinaryExpr, Expr, VectorSelector

__all__ = ["labels", "metrics", "selector_of"]

_VARIABLES = {"$__rate_interval": "5m", "$__range": "1h"}
"""Durations that Grafana fills in; its other variables stand in quotes."""
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


def metrics(expression: str) -> set[str]:
    """Names of metrics; with what the parser raises when it is no PromQL."""
    return {node.name for node in _nodes(expression) if isinstance(node, VectorSelector) and node.name}


def labels(expression: str) -> set[str]:
    """Names of labels that are matched, grouped by or joined on."""
    return {label for node in _nodes(expression) for label in _labels(node)}


def selector_of(variable: str) -> str:
    """`label_values(metric, label)` of a dashboard's variable, as PromQL."""
    found = _LABEL_VALUES.fullmatch(variable)
    assert found is not None, variable
    return f"group by ({found[2]}) ({found[1]})"


def _nodes(expression: str) -> list[Expr]:
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    nodes: list[Expr] = []
    promql_parser.walk(promql_parser.parse(expression), nodes.append)
    return nodes


def _labels(node: Expr) -> Iterator[str]:
    match node:
        case VectorSelector():
            yield from (matcher.name for matcher in node.matchers.matchers)
        case AggregateExpr() if node.modifier is not None:
            yield from node.modifier.labels
        case BinaryExpr() if node.modifier is not None:
            yield from node.modifier.matching.labels if node.modifier.matching is not None else ()
            yield from node.modifier.group_labels or ()
        case _:
            pass
