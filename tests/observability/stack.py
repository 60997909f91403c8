"""The files that `docker compose up` reads, as data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from tests.observability import promql

__all__ = [
    "DASHBOARD",
    "FOLDER",
    "JAEGER",
    "PROMETHEUS",
    "ROOT",
    "RULES",
    "SERVICES",
    "Mount",
    "Node",
    "Port",
    "expressions",
    "mounts",
    "panels",
    "ports",
]

Node = Mapping[str, Any]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "observability"


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


SERVICES: Mapping[str, Node] = read_yaml(ROOT / "compose.yaml")["services"]
JAEGER: Node = read_yaml(FOLDER / "jaeger.yaml")
PROMETHEUS: Node = read_yaml(FOLDER / "prometheus" / "prometheus.yml")
RULES: Sequence[Node] = [
    rule for group in read_yaml(FOLDER / "prometheus" / "rules.yml")["groups"] for rule in group["rules"]
]
DASHBOARD: Node = json.loads((FOLDER / "grafana" / "dashboards" / "callboard.json").read_text())


@frozen
class Port:
    """A port of a service that this machine can reach."""

    service: str
    address: str
    published: int
    target: int


@frozen
class Mount:
    """A volume, or a path of the repository, in a service's container."""

    service: str
    source: str
    target: str

    @property
    def is_path(self) -> bool:
        return self.source.startswith(".")


def ports() -> Iterator[Port]:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            address, published, target = port.split(":")
            yield Port(name, address, int(published), int(target))


def mounts() -> Iterator[Mount]:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            yield Mount(name, *volume.split(":")[:2])


def panels() -> Iterator[Node]:
    """Of the dashboard, without the titles of its rows."""
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and the PromQL: of panels, variables and rules."""
    for panel in panels():
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        yield f"variable {variable['name']}", promql.selector_of(variable["definition"])
    yield from ((f"alert {rule['alert']}", rule["expr"]) for rule in RULES)
