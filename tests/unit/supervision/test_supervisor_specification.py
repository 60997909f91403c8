"""Declaring a tree, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError

from callboard.backoff import Backoff
from callboard.errors import DeclarationError
from callboard.supervision import ChildSpec, Restart, RestartIntensity, Strategy, Supervisor


class Delays:
    pass


class Pricing:
    name = "prices"


def audit() -> None:
    pass


def test_plain_targets_become_permanent_children_in_the_given_order() -> None:
    tree = Supervisor([Delays, audit, ChildSpec(Pricing, restart="transient", essential=True)])

    assert tree.children == (
        ChildSpec(Delays, restart=Restart.PERMANENT, essential=False, name="Delays"),
        ChildSpec(audit, name="audit"),
        ChildSpec(Pricing, restart=Restart.TRANSIENT, essential=True, name="prices"),
    )


def test_defaults_are_those_of_the_design() -> None:
    tree = Supervisor([Delays])

    assert tree.strategy is Strategy.ONE_FOR_ONE
    assert tree.intensity == RestartIntensity(max_restarts=5, period=60.0)
    assert tree.backoff.maximum == 30.0
    assert not tree.provide


def test_text_and_enum_are_the_same_strategy() -> None:
    assert Supervisor([Delays], strategy="rest_for_one").strategy is Strategy.REST_FOR_ONE
    assert Supervisor([Delays], strategy=Strategy.ONE_FOR_ALL).strategy is Strategy.ONE_FOR_ALL


def test_unnamed_supervisor_is_named_after_its_first_child() -> None:
    assert Supervisor([Supervisor([Delays, Pricing])]).children[0].name == "supervisor(Delays)"


def test_walk_gives_the_whole_tree_in_start_order() -> None:
    tree = Supervisor([Delays, Supervisor([Pricing], name="inner"), audit])

    assert [spec.name for spec in tree.walk()] == ["Delays", "inner", "prices", "audit"]


def test_supervisor_with_an_essential_child_is_indispensable() -> None:
    inner = Supervisor([ChildSpec(Delays, essential=True), Pricing])

    assert ChildSpec(inner).indispensable
    assert not ChildSpec(Supervisor([Delays])).indispensable


def test_declaration_cannot_be_changed() -> None:
    tree = Supervisor([Delays])

    with pytest.raises(FrozenInstanceError):
        tree.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        tree.provide[Delays] = audit  # type: ignore[index]


def test_later_changes_of_the_given_mapping_do_not_reach_the_tree() -> None:
    @asynccontextmanager
    async def open_delays() -> AsyncGenerator[Delays, None]:
        yield Delays()

    provide: dict[type[object], Callable[..., Any]] = {Delays: open_delays}
    tree = Supervisor([audit], provide=provide)
    provide.clear()

    assert tree.provide == {Delays: open_delays}


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: Supervisor([]), "has no children"),
    (lambda: Supervisor("Delays"), "children must be a list"),  # type: ignore[arg-type]
    (lambda: Supervisor([Delays, Delays]), "2 children have the name 'Delays'"),
    (lambda: Supervisor([Delays, Supervisor([Delays])]), "2 children have the name 'Delays'"),
    (lambda: Supervisor([Delays()]), "a child is an actor class"),  # type: ignore[list-item]
    (lambda: ChildSpec(ChildSpec(Delays)), "a child is an actor class"),  # type: ignore[arg-type]
    (lambda: ChildSpec(Delays, name=""), "name must be a text"),
    (lambda: ChildSpec(Delays, restart="permanet"), "did you mean 'permanent'"),
    (lambda: ChildSpec(Delays, restart="temporary", essential=True), "cannot be essential"),
    (lambda: Supervisor([Delays], strategy="one_for_al"), "did you mean 'one_for_all'"),
    (lambda: Supervisor([Delays], intensity=5), "must be a RestartIntensity"),  # type: ignore[arg-type]
    (lambda: Supervisor([Delays], backoff=1.0), "must be a Backoff"),  # type: ignore[arg-type]
    (lambda: Supervisor([Delays], provide={"Delays": audit}), "maps a type"),  # type: ignore[dict-item]
    (lambda: RestartIntensity(max_restarts=-1), "max_restarts"),
    (lambda: RestartIntensity(max_restarts=2.5), "max_restarts"),  # type: ignore[arg-type]
    (lambda: RestartIntensity(period=0), "period"),
]


@pytest.mark.parametrize(("declare", "rule"), REFUSED, ids=[rule for _, rule in REFUSED])
def test_what_cannot_work_is_refused_where_it_is_declared(declare: Callable[[], object], rule: str) -> None:
    with pytest.raises(DeclarationError, match=rule):
        declare()


def test_limit_that_the_backoff_never_reaches_is_refused_with_the_time_it_would_take() -> None:
    with pytest.raises(DeclarationError, match=r"10 restarts take 75\.5 s on average"):
        Supervisor([Delays], intensity=RestartIntensity(max_restarts=10, period=60.0))


def test_shorter_backoff_brings_the_limit_within_reach() -> None:
    intensity = RestartIntensity(max_restarts=10, period=60.0)

    assert Supervisor([Delays], intensity=intensity, backoff=Backoff(maximum=10.0)).intensity == intensity
