"""The rules of restarting, first by example, then against a model of OTP's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.supervision import ChildSpec, Restart, RestartIntensity, Strategy, Supervisor
from callboard.supervision.decision import Action, Decider, Escalate, Exit, Leave, RestartChildren


class Actor:
    pass


def longest() -> float:
    return 0.0


def child(name: str, restart: str = "permanent", *, essential: bool = False) -> ChildSpec:
    return ChildSpec(Actor, restart=restart, essential=essential, name=name)


def decider(
    children: Sequence[str | ChildSpec], strategy: str = "one_for_one", *, root: bool = True, **options: Any
) -> Decider:
    specs = [item if isinstance(item, ChildSpec) else child(item) for item in children]
    made = Decider(Supervisor(specs, strategy=strategy, **options), root=root, random=longest)
    for spec in specs:
        made.started(spec.name, 0.0)
    return made


def crash(made: Decider, name: str, now: float) -> Action:
    """The child crashes, and what is restarted for it works at once."""
    action = made.exited(name, Exit.CRASH, now)
    if isinstance(action, RestartChildren):
        for other in action.start:
            made.started(other, now)
    return action


@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [("one_for_one", ["b"]), ("rest_for_one", ["b", "c"]), ("one_for_all", ["a", "b", "c"])],
)
def test_strategy_selects_who_stops_in_reverse_and_starts_in_order(strategy: str, restarted: list[str]) -> None:
    action = decider(["a", "b", "c"], strategy).exited("b", Exit.CRASH, 1.0)

    assert action == RestartChildren(tuple(reversed(restarted)), tuple(restarted), 0.0)


@pytest.mark.parametrize("how", Exit)
@pytest.mark.parametrize("restart", Restart)
def test_restart_says_after_which_ends_a_child_comes_back(restart: Restart, how: Exit) -> None:
    comes_back = restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and how is not Exit.NORMAL)

    action = decider([child("a", restart)]).exited("a", how, 1.0)

    assert isinstance(action, RestartChildren if comes_back else Leave)


def test_temporary_child_stopped_for_a_sibling_does_not_come_back() -> None:
    action = decider(["a", child("t", "temporary"), "c"], "one_for_all").exited("a", Exit.CRASH, 1.0)

    assert action == RestartChildren(("c", "t", "a"), ("a", "c"), 0.0)


def test_temporary_child_that_never_worked_still_gets_its_start() -> None:
    made = Decider(Supervisor([child("a"), child("t", "temporary")], strategy="one_for_all"), root=True)
    made.started("a", 0.0)

    action = made.exited("a", Exit.CRASH, 1.0)

    assert isinstance(action, RestartChildren)
    assert action.start == ("a", "t")


def test_waits_grow_with_each_crash_of_a_child() -> None:
    made = decider(["a", "b"], intensity=RestartIntensity(5, 60.0))

    waits = [crash(made, "a", float(now)) for now in range(5)]

    assert [wait.delay for wait in waits if isinstance(wait, RestartChildren)] == [0, 1, 2, 4, 8]
    assert crash(made, "b", 5.0) == RestartChildren(("b",), ("b",), 0.0)


def test_waits_begin_anew_after_a_stable_period() -> None:
    made = decider(["a"])
    crash(made, "a", 1.0)
    crash(made, "a", 2.0)

    assert crash(made, "a", 62.0) == RestartChildren(("a",), ("a",), 0.0)


def test_time_spent_starting_is_no_stable_time() -> None:
    made = decider(["a"])
    made.exited("a", Exit.CRASH, 1.0)

    action = made.exited("a", Exit.CRASH, 100.0)

    assert action == RestartChildren(("a",), ("a",), 1.0)


def test_outages_never_use_the_budget() -> None:
    made = decider(["a"], root=False, intensity=RestartIntensity(0, 60.0))

    actions = [made.exited("a", Exit.OUTAGE, 0.1 * n) for n in range(100)]

    assert all(isinstance(action, RestartChildren) for action in actions)
    assert made.exited("a", Exit.CRASH, 10.0) == Escalate()


def test_outages_do_not_lengthen_the_waits_after_crashes() -> None:
    made = decider(["a"])
    for _ in range(10):
        made.outage("a")

    assert made.outage("a") == 30.0
    assert made.exited("a", Exit.CRASH, 1.0) == RestartChildren(("a",), ("a",), 0.0)


def test_inner_supervisor_counts_all_children_together_and_escalates() -> None:
    made = decider(["a", "b"], root=False, intensity=RestartIntensity(2, 60.0))
    crash(made, "a", 1.0)
    crash(made, "b", 2.0)

    assert crash(made, "a", 3.0) == Escalate()


def test_root_parks_only_the_child_that_crashes_too_often() -> None:
    made = decider(["a", "b"], intensity=RestartIntensity(2, 60.0))
    crash(made, "a", 1.0)
    crash(made, "b", 1.5)
    crash(made, "a", 2.0)

    assert crash(made, "a", 3.0) == RestartChildren(("a",), ("a",), 60.0, parked=True)
    assert crash(made, "b", 4.0) == RestartChildren(("b",), ("b",), 1.0)


def test_restarts_older_than_the_period_do_not_count() -> None:
    made = decider(["a"], root=False, intensity=RestartIntensity(1, 10.0))
    crash(made, "a", 0.0)

    assert crash(made, "a", 10.01) != Escalate()
    assert crash(made, "a", 20.0) == Escalate()


def test_root_escalates_for_an_essential_child() -> None:
    made = decider([child("a", essential=True)], intensity=RestartIntensity(0, 60.0))

    assert crash(made, "a", 1.0) == Escalate()


def test_root_escalates_when_parking_would_stop_an_essential_sibling() -> None:
    siblings = [child("a"), child("b", essential=True)]
    intensity = RestartIntensity(0, 60.0)

    assert crash(decider(siblings, "rest_for_one", intensity=intensity), "a", 1.0) == Escalate()
    assert crash(decider(siblings, intensity=intensity), "a", 1.0) != Escalate()


def test_child_on_probation_is_parked_again_at_its_first_crash() -> None:
    made = decider(["a"], intensity=RestartIntensity(1, 60.0))
    parked = RestartChildren(("a",), ("a",), 60.0, parked=True)
    crash(made, "a", 1.0)
    assert crash(made, "a", 2.0) == parked

    assert crash(made, "a", 60.0) == parked


def test_child_stable_after_being_parked_has_its_whole_budget_again() -> None:
    made = decider(["a"], intensity=RestartIntensity(1, 60.0))
    crash(made, "a", 1.0)
    crash(made, "a", 2.0)

    assert crash(made, "a", 62.0) == RestartChildren(("a",), ("a",), 0.0)


# The model: OTP's supervisor.erl (do_restart, restart, add_restart), written down once more as directly as it
# goes. It knows no backoff; delays are only checked for their range.

NAMES: list[str] = ["a", "b", "c", "d"]


class Model:
    def __init__(self, strategy: str, restarts: dict[str, str], max_restarts: int, period: float) -> None:
        self.strategy, self.restarts = strategy, restarts
        self.max_restarts, self.period = max_restarts, period
        self.history: list[float] = []

    def exited(self, name: str, how: Exit, now: float) -> tuple[str, list[str]]:
        kind = self.restarts[name]
        if kind == "temporary" or (kind == "transient" and how is Exit.NORMAL):
            return "leave", []
        self.history.append(now)
        if len([then for then in self.history if now <= then + self.period]) > self.max_restarts:
            return "escalate", []
        names = list(self.restarts)
        first = {"one_for_all": 0, "rest_for_one": names.index(name)}
        group = [name] if self.strategy == "one_for_one" else names[first[self.strategy] :]
        return "restart", [other for other in group if self.restarts[other] != "temporary"]


@given(
    strategy=st.sampled_from([member.value for member in Strategy]),
    kinds=st.lists(st.sampled_from([member.value for member in Restart]), min_size=1, max_size=4),
    max_restarts=st.integers(0, 5),
    events=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([Exit.NORMAL, Exit.CRASH]),
            st.sampled_from([0, 1, 20, 59, 60, 61]),
        ),
        max_size=40,
    ),
)
def test_decisions_agree_with_otp(
    strategy: str, kinds: list[str], max_restarts: int, events: list[tuple[int, Exit, int]]
) -> None:
    restarts = dict(zip(NAMES, kinds, strict=False))
    intensity = RestartIntensity(max_restarts, 60.0)
    model = Model(strategy, restarts, max_restarts, 60.0)
    made = decider([child(name, kind) for name, kind in restarts.items()], strategy, root=False, intensity=intensity)
    up, now = set(restarts), 0.0
    for index, how, elapsed in events:
        now += elapsed
        name = NAMES[index % len(kinds)]
        if name not in up:
            continue
        verdict, started = model.exited(name, how, now)
        match made.exited(name, how, now):
            case Leave():
                assert verdict == "leave"
                up.discard(name)
            case Escalate():
                assert verdict == "escalate"
                return
            case RestartChildren(stop, start, delay, parked):
                assert (verdict, started) == ("restart", list(start))
                assert set(start) <= set(stop)
                assert list(stop) == sorted(stop, reverse=True)
                assert 0 <= delay <= 30
                assert not parked
                up = (up - set(stop)) | set(start)
                for other in start:
                    made.started(other, now)


@given(st.integers(0, 8), st.lists(st.integers(1, 200), max_size=60))
def test_root_without_essential_children_never_gives_up_for_good(max_restarts: int, lives: list[int]) -> None:
    made = decider(["a", "b"], intensity=RestartIntensity(max_restarts, 100.0))
    now = 0.0
    for life in lives:
        now += life
        action = crash(made, "a", now)
        assert isinstance(action, RestartChildren)
        now += action.delay
        made.started("a", now)
