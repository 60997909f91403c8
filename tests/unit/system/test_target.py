"""What the command line is asked to run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from callboard.config import SupervisionSettings
from callboard.errors import DeclarationError, TargetError
from callboard.supervision import RestartIntensity, Supervisor
from callboard.system.target import load_services

ACTORS = """
from callboard import Actor, ChildSpec, Supervisor, command, event

class Desk(Actor):
    @command("orders.place")
    async def place(self) -> None: ...

@event("orders.placed")
async def log() -> None: ...

class Plain:
    pass
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a module `desk`; what it imports is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "desk.py").write_text(ACTORS)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def names(tree: Supervisor) -> list[str]:
    return [spec.name for spec in tree.walk()]


def test_module_of_the_current_folder_runs_all_its_actors() -> None:
    [service] = load_services(["desk"])

    assert (service.name, names(service.tree)) == ("desk", ["Desk", "log"])


def test_imported_actors_are_not_the_modules(folder: Path) -> None:
    (folder / "other.py").write_text(f"from desk import Desk\n{ACTORS.replace('Desk(Actor)', 'Till(Actor)')}")

    [service] = load_services(["other"])

    assert names(service.tree) == ["Till", "log"]


def test_name_after_a_colon_runs_one() -> None:
    [service] = load_services(["desk:Desk"])

    assert (service.name, names(service.tree)) == ("desk", ["Desk"])


def test_service_is_named_like_the_last_part_of_its_module(folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "front.py").write_text(ACTORS)

    assert [service.name for service in load_services(["shop.front:Desk", "desk"])] == ["front", "desk"]
    assert [service.name for service in load_services(["desk"], "given")] == ["given"]


def test_supervisor_of_the_module_is_used_as_it_stands(folder: Path) -> None:
    (folder / "tree.py").write_text(ACTORS + "tree = Supervisor([log, Desk], strategy='one_for_all')\n")

    [service] = load_services(["tree"])

    assert service.tree is sys.modules["tree"].tree
    assert names(service.tree) == ["log", "Desk"]


def test_actors_without_a_supervisor_get_the_configured_supervision(folder: Path) -> None:
    (folder / "tree.py").write_text(ACTORS + "tree = Supervisor([log, Desk])\n")
    settings = SupervisionSettings("one_for_all", max_restarts=2, period=30.0)

    whole, own = load_services(["desk", "tree"], supervision=settings)
    [one] = load_services(["desk:Desk"], supervision=settings)

    for service in (whole, one):
        assert (service.tree.strategy, service.tree.intensity) == ("one_for_all", RestartIntensity(2, 30.0))
    assert own.tree.strategy == "one_for_one"


def test_targets_of_one_name_are_one_service(folder: Path) -> None:
    (folder / "till.py").write_text(ACTORS.replace("class Desk", "class Till").replace("def log", "def note"))
    (folder / "tree.py").write_text(
        ACTORS.replace("class Desk", "class Bank").replace("def log", "def book") + "tree = Supervisor([Bank, book])\n"
    )

    [service] = load_services(["desk", "till:Till", "tree"], "shop")

    assert service.name == service.tree.name == "shop"
    assert names(service.tree) == ["Desk", "log", "Till", "supervisor(Bank)", "Bank", "book"]
    with pytest.raises(DeclarationError, match="2 children have the name 'Desk'"):
        load_services(["desk", "desk:Desk"])


def test_supervisor_inside_another_is_not_the_top(folder: Path) -> None:
    (folder / "tree.py").write_text(ACTORS + "inner = Supervisor([Desk])\nouter = Supervisor([log, inner])\n")

    [service] = load_services(["tree"])

    assert service.tree is sys.modules["tree"].outer


@pytest.mark.parametrize(
    ("target", "text", "rule"),
    [
        ("nowhere", None, "no module named 'nowhere'"),
        ("nowhere.inside", None, "no module named 'nowhere'"),
        ("broken", "import surely_not_installed", "importing it failed: No module named 'surely_not_installed'"),
        ("broken", "x = [", "importing it failed: SyntaxError"),
        ("broken", "raise RuntimeError('no\\nlicence')", "importing it failed: RuntimeError: no licence"),
        ("empty", "x = 1", "holds no actors"),
        ("desk:Dest", None, "did you mean 'Desk'?"),
        ("desk:Plain", None, "the class 'Plain' is no actor"),
        ("two", ACTORS + "a = Supervisor([log])\nb = Supervisor([Desk])", "has 2 supervisors (a, b); name one: two:a"),
    ],
    ids=["module", "package", "dependency", "syntax", "raises", "no actors", "name", "no actor", "two supervisors"],
)
def test_target_that_cannot_run_is_refused_in_one_line(folder: Path, target: str, text: str | None, rule: str) -> None:
    if text is not None:
        (folder / f"{target}.py").write_text(text)

    with pytest.raises(TargetError) as raised:
        load_services([target])

    assert str(raised.value).startswith(f"target {target!r}: ")
    assert rule in str(raised.value)
    assert "\n" not in str(raised.value)


def test_impossible_declaration_keeps_its_own_words(folder: Path) -> None:
    (folder / "wrong.py").write_text("from callboard import Actor\nclass Desk(Actor):\n    timout = 3\n")

    with pytest.raises(DeclarationError, match="did you mean 'timeout'"):
        load_services(["wrong"])
