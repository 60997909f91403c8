"""Running a tree: order, restarts, parking, escalation, stopping, and what cancellation leaves behind."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.errors import ActorCrash, ClosedError, ConnectionLostError, RestartLimitExceeded
from callboard.instrumentation import Instrumentation, Span
from callboard.supervision import ChildSpec, RestartIntensity, Supervisor, SupervisorRunner
from callboard.supervision.child import ChildState, State
from callboard.supervision.runner import Timing


def outage() -> ConnectionLostError:
    return ConnectionLostError("nats://127.0.0.1:4222", "gone")


class Actor:
    pass


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.time = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, delay: float) -> None:
        if delay <= 0:
            return
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self.time + delay, id(woken), woken))
        await woken.wait()

    async def advance(self, seconds: float) -> None:
        end = self.time + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.time, _, woken = heapq.heappop(self._sleepers)
            woken.set()
            await settle()
        self.time = end


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)


class Part:
    """A child whose fate the test decides."""

    summary = "does its part"

    def __init__(self, name: str, stage: Stage) -> None:
        self.name = name
        self._stage = stage
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopped = False

    def crash(self, error: BaseException) -> None:
        self.end.set_exception(error)
        self.end.exception()  # a crash that nobody waits for is no defect here

    def finish(self) -> None:
        self.end.set_result(None)

    async def start(self) -> None:
        self._stage.note("start", self)
        self._stage.live.append(self)
        failures = self._stage.failures[self.name]
        failure = failures.popleft() if failures else None
        try:
            await asyncio.sleep(0)
            if self.name in self._stage.stuck:
                await asyncio.Event().wait()
            if failure is not None:
                raise failure  # noqa: TRY301 - as an actor's own code would
        except BaseException:
            self._stage.live.remove(self)
            raise
        self._stage.parts[self.name] = self

    async def wait(self) -> None:
        await asyncio.shield(self.end)

    async def drain(self) -> None:
        self._stage.note("drain", self)
        await asyncio.sleep(0)

    async def stop(self, grace: float) -> None:
        self._stage.note("stop", self)
        self._stage.graces.append(grace)
        await self._stage.stopping.wait() if grace else None
        await asyncio.sleep(0)
        if self in self._stage.live:
            self._stage.live.remove(self)
        self._stage.clock.time += self._stage.stop_takes


class Stage:
    """Makes parts and remembers what happened to them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.log: list[str] = []
        self.graces: list[float] = []
        self.live: list[Part] = []
        self.parts: dict[str, Part] = {}
        self.failures: defaultdict[str, deque[BaseException]] = defaultdict(deque)
        self.stuck: set[str] = set()
        self.stop_takes = 0.0
        self.stopping = asyncio.Event()
        self.stopping.set()

    def note(self, what: str, part: Part) -> None:
        self.log.append(f"{what} {part.name}")

    def events(self, what: str) -> list[str]:
        return [line.split()[1] for line in self.log if line.startswith(what)]

    def runner(self, tree: Supervisor, **options: Any) -> SupervisorRunner:
        timing = Timing(sleep=self.clock.sleep, now=self.clock.now, random=lambda: 0.0)
        return SupervisorRunner(tree, lambda spec: Part(spec.name, self), timing=timing, **options)

    @asynccontextmanager
    async def running(self, tree: Supervisor, **options: Any) -> AsyncGenerator[SupervisorRunner, None]:
        runner = self.runner(tree, **options)
        await runner.start()
        try:
            self.log.clear()
            yield runner
        finally:
            await runner.stop(0.0)
        assert not self.live

    async def crash(self, name: str, error: BaseException | None = None) -> None:
        self.parts[name].crash(error or ValueError("broken"))
        await settle()


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def child(name: str, restart: str = "permanent", *, essential: bool = False) -> ChildSpec:
    return ChildSpec(Actor, name=name, restart=restart, essential=essential)


def tree(*names: str, **options: Any) -> Supervisor:
    return Supervisor([child(name) for name in names], name="tree", **options)


def state_of(runner: SupervisorRunner, name: str) -> ChildState:
    return next(state for state in runner.states() if state.name == name)


# starting


async def test_children_start_in_order_and_all_are_running_when_start_returns(stage: Stage) -> None:
    async with stage.running(tree("a", "b")) as runner:
        assert runner.states() == (ChildState("a", State.RUNNING, 0), ChildState("b", State.RUNNING, 0))
    assert stage.events("start") == []


async def test_first_start_that_fails_stops_what_had_started_in_reverse_and_raises_the_error(
    stage: Stage,
) -> None:
    broken = ValueError("no such setting")
    stage.failures["c"].append(broken)

    with pytest.raises(ValueError, match="no such setting") as caught:
        await stage.runner(tree("a", "b", "c", "d")).start()

    assert caught.value is broken
    assert stage.events("start") == ["a", "b", "c"]
    assert stage.events("stop") == ["c", "b", "a"]
    assert not stage.live


async def test_broken_child_of_an_inner_supervisor_fails_the_first_start_of_the_tree(stage: Stage) -> None:
    stage.failures["c"].append(ValueError("no such setting"))
    runner = stage.runner(Supervisor([child("a"), tree("b", "c")]))

    with pytest.raises(ValueError, match="no such setting"):
        await runner.start()

    assert not stage.live


async def test_start_waits_out_an_outage_for_ever_and_keeps_the_order(stage: Stage) -> None:
    stage.failures["b"].extend(outage() for _ in range(20))
    runner = stage.runner(tree("a", "b", "c"))
    start = asyncio.create_task(runner.start())

    await stage.clock.advance(300.0)
    assert state_of(runner, "a").state is State.RUNNING
    assert state_of(runner, "b").state is State.BACKING_OFF
    assert state_of(runner, "c").state is State.STOPPED

    await stage.clock.advance(300.0)
    await start
    assert stage.events("start") == ["a"] + ["b"] * 21 + ["c"]
    await runner.stop(0.0)


async def test_child_that_crashes_while_later_ones_are_starting_is_restarted_meanwhile(stage: Stage) -> None:
    stage.stuck.add("b")
    runner = stage.runner(tree("a", "b"))
    start = asyncio.create_task(runner.start())
    await settle()

    await stage.crash("a")

    assert state_of(runner, "a") == ChildState("a", State.RUNNING, 1)
    start.cancel()
    await asyncio.wait([start])
    assert not stage.live


async def test_crash_during_the_first_start_takes_it_over_when_siblings_depend_on_it(stage: Stage) -> None:
    stage.failures["b"].extend([outage(), outage()])
    runner = stage.runner(tree("a", "b", strategy="one_for_all"))
    start = asyncio.create_task(runner.start())
    await settle()

    await stage.crash("a")
    await start
    await stage.clock.advance(60.0)

    assert stage.events("start") == ["a", "b", "b", "a", "b"]
    await runner.stop(0.0)


async def test_stop_during_start_ends_both(stage: Stage) -> None:
    stage.stuck.add("b")
    runner = stage.runner(tree("a", "b"))
    start = asyncio.create_task(runner.start())
    await settle()

    await runner.stop(1.0)

    with pytest.raises(ClosedError):
        await start
    assert not stage.live


# restarting


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", ["stop b", "start b"]),
        ("rest_for_one", ["stop c", "stop b", "start b", "start c"]),
        ("one_for_all", ["stop c", "stop b", "stop a", "start a", "start b", "start c"]),
    ],
)
async def test_crash_restarts_what_the_strategy_says(stage: Stage, strategy: str, expected: list[str]) -> None:
    async with stage.running(tree("a", "b", "c", strategy=strategy)):
        await stage.crash("b")

        assert stage.log == expected


async def test_second_crash_waits_for_its_backoff(stage: Stage) -> None:
    async with stage.running(tree("a")) as runner:
        await stage.crash("a")
        await stage.crash("a")
        assert state_of(runner, "a") == ChildState("a", State.BACKING_OFF, 1)

        await stage.clock.advance(1.0)
        assert state_of(runner, "a") == ChildState("a", State.RUNNING, 2)


async def test_restart_that_fails_to_start_counts_as_a_crash(stage: Stage) -> None:
    async with stage.running(tree("a", intensity=RestartIntensity(1, 60.0))) as runner:
        stage.failures["a"].append(ValueError("still broken"))

        await stage.crash("a")

        assert state_of(runner, "a").state is State.PARKED


async def test_outage_while_running_restarts_without_using_the_budget(stage: Stage) -> None:
    async with stage.running(tree("a", intensity=RestartIntensity(0, 60.0))) as runner:
        await stage.crash("a", ExceptionGroup("reader", [outage()]))

        assert state_of(runner, "a") == ChildState("a", State.RUNNING, 1)


async def test_crash_during_a_restart_of_later_children_takes_the_restart_over(stage: Stage) -> None:
    async with stage.running(tree("a", "b", "c", strategy="rest_for_one")) as runner:
        stage.stuck.add("c")
        await stage.crash("b")
        assert state_of(runner, "c").state is State.STARTING
        stage.stuck.clear()
        stage.log.clear()

        await stage.crash("a")

        assert stage.events("start") == ["a", "b", "c"]
        assert {state.state for state in runner.states()} == {State.RUNNING}
        assert len(stage.live) == 3


async def test_restart_that_was_taken_over_does_not_happen_later(stage: Stage) -> None:
    async with stage.running(tree("a", "b", strategy="rest_for_one")):
        await stage.crash("b")
        await stage.crash("b")
        await stage.crash("a")
        stage.log.clear()

        await stage.clock.advance(60.0)

        assert stage.log == []


async def test_siblings_that_crash_together_cost_one_restart(stage: Stage) -> None:
    once = RestartIntensity(1, 60.0)
    async with stage.running(tree("a", "b", strategy="one_for_all", intensity=once)) as runner:
        stage.parts["a"].crash(ValueError("first"))
        stage.parts["b"].crash(ValueError("second"))
        await settle()

        assert runner.states() == (ChildState("a", State.RUNNING, 1), ChildState("b", State.RUNNING, 1))


async def test_normal_end_of_a_transient_child_releases_it_and_leaves_it_stopped(stage: Stage) -> None:
    async with stage.running(Supervisor([child("a", "transient"), child("b")])) as runner:
        stage.parts["a"].finish()
        await settle()

        assert state_of(runner, "a").state is State.STOPPED
        assert stage.log == ["stop a"]


async def test_child_cancelled_by_someone_else_is_restarted(stage: Stage) -> None:
    async with stage.running(tree("a")) as runner:
        stage.parts["a"].end.cancel()
        await settle()

        assert state_of(runner, "a") == ChildState("a", State.RUNNING, 1)


async def test_child_that_cannot_be_made_counts_as_one_that_cannot_start(stage: Stage) -> None:
    broken = iter([False, True])

    def make(spec: ChildSpec) -> Part:
        if next(broken, False):
            raise ValueError("no such dependency")
        return Part(spec.name, stage)

    timing = Timing(sleep=stage.clock.sleep, now=stage.clock.now, random=lambda: 0.0)
    runner = SupervisorRunner(tree("a"), make, timing=timing)
    await runner.start()
    await stage.crash("a")
    assert state_of(runner, "a").state is State.BACKING_OFF

    await stage.clock.advance(1.0)
    assert state_of(runner, "a").state is State.RUNNING
    await runner.stop(0.0)


# budget exceeded


async def crash_beyond_the_budget(stage: Stage, name: str, restarts: int) -> None:
    for _ in range(restarts + 1):
        await stage.crash(name)
        await stage.clock.advance(30.0)


ONE_IN_LONG = RestartIntensity(1, 600.0)


async def test_parked_child_is_tried_again_each_minute_while_its_siblings_run(stage: Stage) -> None:
    async with stage.running(tree("a", "b", intensity=ONE_IN_LONG)) as runner:
        await crash_beyond_the_budget(stage, "a", 1)
        assert state_of(runner, "a").state is State.PARKED
        assert state_of(runner, "b") == ChildState("b", State.RUNNING, 0)

        await stage.clock.advance(30.0)
        assert state_of(runner, "a").state is State.RUNNING

        await stage.crash("a")
        assert state_of(runner, "a").state is State.PARKED


async def test_essential_child_beyond_its_budget_ends_the_root_with_everything_stopped(stage: Stage) -> None:
    runner = stage.runner(Supervisor([child("a", essential=True), child("b")], intensity=ONE_IN_LONG))
    await runner.start()
    broken = ValueError("broken")

    await stage.crash("a")
    await stage.crash("a", broken)

    with pytest.raises(RestartLimitExceeded) as caught:
        await runner.wait()
    assert caught.value.__cause__ is broken
    assert not stage.live
    assert {state.state for state in runner.states()} == {State.STOPPED}
    await runner.stop(1.0)


async def test_inner_supervisor_beyond_its_budget_is_restarted_by_its_parent(stage: Stage) -> None:
    inner = tree("b", "c", intensity=ONE_IN_LONG)
    async with stage.running(Supervisor([child("a"), inner])) as runner:
        await stage.crash("b")
        await stage.crash("c")

        assert stage.log == [
            "stop b",
            "start b",
            "drain b",
            "drain c",
            "stop c",
            "stop b",
            "start b",
            "start c",
        ]
        assert state_of(runner, "tree") == ChildState("tree", State.RUNNING, 1)
        assert state_of(runner, "b") == ChildState("b", State.RUNNING, 0)


async def test_inner_supervisor_is_parked_with_all_its_children(stage: Stage) -> None:
    inner = tree("b", "c", intensity=RestartIntensity(0, 600.0))
    async with stage.running(Supervisor([child("a"), inner], intensity=ONE_IN_LONG)) as runner:
        await crash_beyond_the_budget(stage, "b", 1)

        assert [state.state for state in runner.states()] == [
            State.RUNNING,
            State.PARKED,
            State.STOPPED,
            State.STOPPED,
        ]


async def test_essential_child_deep_in_the_tree_ends_the_root(stage: Stage) -> None:
    inner = Supervisor([child("b", essential=True)], intensity=RestartIntensity(0, 600.0))
    runner = stage.runner(Supervisor([child("a"), inner], intensity=RestartIntensity(0, 600.0)))
    await runner.start()

    await stage.crash("b")

    with pytest.raises(RestartLimitExceeded):
        await runner.wait()
    assert not stage.live


# stopping


async def test_stop_drains_all_at_once_then_stops_in_reverse(stage: Stage) -> None:
    runner = stage.runner(Supervisor([child("a"), tree("b", "c"), child("d")]))
    await runner.start()
    stage.log.clear()

    await runner.stop(10.0)

    first_stop = stage.log.index("stop d")
    assert sorted(stage.log[:first_stop]) == ["drain a", "drain b", "drain c", "drain d"]
    assert stage.events("stop") == ["d", "c", "b", "a"]
    await runner.wait()


async def test_children_share_one_deadline(stage: Stage) -> None:
    runner = stage.runner(tree("a", "b", "c"))
    await runner.start()
    stage.stop_takes = 6.0

    await runner.stop(10.0)

    assert stage.graces == [10.0, 4.0, 0.0]


async def test_second_stop_shortens_the_grace_of_the_first(stage: Stage) -> None:
    runner = stage.runner(tree("a", "b"))
    await runner.start()
    stage.stopping.clear()
    patient = asyncio.create_task(runner.stop(30.0))
    await settle()

    hasty = asyncio.create_task(runner.stop(0.0))
    await settle()
    assert stage.graces == [30.0, 0.0]

    stage.stopping.set()
    await asyncio.gather(patient, hasty)
    assert stage.graces == [30.0, 0.0, 0.0]


async def test_runner_stopped_before_its_start_never_starts(stage: Stage) -> None:
    runner = stage.runner(tree("a"))
    await runner.drain()
    await runner.stop(1.0)

    with pytest.raises(ClosedError):
        await runner.start()
    assert stage.log == []


async def test_second_stop_does_nothing(stage: Stage) -> None:
    runner = stage.runner(tree("a"))
    await runner.start()
    await runner.stop(1.0)
    stage.log.clear()

    await runner.stop(1.0)
    await runner.drain()

    assert stage.log == []


async def test_nothing_restarts_once_draining(stage: Stage) -> None:
    async with stage.running(tree("a", "b")) as runner:
        await stage.crash("a")
        await stage.crash("a")
        await runner.drain()

        await stage.crash("b")
        await stage.clock.advance(60.0)

        assert stage.events("start") == ["a"]


async def test_child_that_breaks_its_promise_not_to_raise_stops_nobody_from_stopping(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    class Rude(Part):
        async def drain(self) -> None:
            raise ValueError("drain")

        async def stop(self, grace: float) -> None:
            await super().stop(grace)
            raise ValueError("stop")

    runner = SupervisorRunner(tree("a", "b"), lambda spec: Rude(spec.name, stage))
    await runner.start()

    await runner.stop(1.0)

    assert not stage.live
    assert "a failed to drain" in caplog.text
    assert "a failed to stop" in caplog.text


async def test_cancelled_stop_still_stops_everything(stage: Stage) -> None:
    runner = stage.runner(tree("a", "b"))
    await runner.start()
    stage.stopping.clear()
    stop = asyncio.create_task(runner.stop(30.0))
    await settle()

    stop.cancel()
    await settle()
    stage.stopping.set()

    with pytest.raises(asyncio.CancelledError):
        await stop
    assert not stage.live


async def test_cancelled_wait_changes_nothing(stage: Stage) -> None:
    async with stage.running(tree("a")) as runner:
        wait = asyncio.create_task(runner.wait())
        await settle()

        wait.cancel()
        await settle()

        assert wait.cancelled()
        assert state_of(runner, "a").state is State.RUNNING


STRATEGIES = st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"])
INCIDENTS = st.lists(
    st.tuples(
        st.sampled_from(["crash", "outage", "finish", "refuse", "time"]),
        st.sampled_from("abcd"),
        st.integers(0, 7),
    ),
    max_size=15,
)


@settings(max_examples=300, deadline=None)
@given(STRATEGIES, STRATEGIES, INCIDENTS, st.integers(0, 30), st.booleans())
def test_whatever_happens_each_child_lives_once_and_none_survives_the_end(
    outer: str, inner: str, incidents: list[tuple[str, str, int]], steps: int, cancel: bool
) -> None:
    async def live_through() -> None:
        stage = Stage()
        runner = stage.runner(Supervisor([child("a"), tree("b", "c", strategy=inner), child("d")], strategy=outer))
        start = asyncio.create_task(runner.start())
        for what, name, pause in incidents:
            incident(stage, what, name)
            await stage.clock.advance(20.0) if what == "time" else None
            for _ in range(pause):
                await asyncio.sleep(0)
            names = [part.name for part in stage.live]
            assert len(names) == len(set(names))
        for _ in range(steps):
            await asyncio.sleep(0)
        if cancel:
            start.cancel()
            await asyncio.wait([start])
        await runner.stop(5.0)
        await asyncio.gather(start, return_exceptions=True)
        assert not stage.live
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(live_through())


def incident(stage: Stage, what: str, name: str) -> None:
    part = stage.parts.get(name)
    if what == "refuse":
        stage.failures[name].append(outage())
    elif part is not None and not part.end.done():
        fates: Mapping[str, Callable[[], None]] = {
            "crash": lambda: part.crash(ValueError("broken")),
            "outage": lambda: part.crash(outage()),
            "finish": part.finish,
        }
        fates.get(what, lambda: None)()


# telling


class Recorded(Span):
    __slots__ = ("calls",)

    def __init__(self, calls: list[object]) -> None:
        self.calls = calls

    def fail(self, error_type: str, description: str = "") -> None:
        self.calls.append(("fail", error_type, description))

    def end(self) -> None:
        self.calls.append("end")


class Recording(Instrumentation):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[object] = []

    def restart(self, actor: str, carrier: Mapping[str, str]) -> Span:
        self.calls.append((actor, dict(carrier)))
        return Recorded(self.calls)


class TracedCrash(ActorCrash):
    carrier = {"traceparent": "00-1-2-01"}


async def test_restart_is_a_span_under_the_attempt_that_caused_it(stage: Stage) -> None:
    recording = Recording()
    async with stage.running(tree("a"), instrumentation=recording):
        await stage.crash("a", TracedCrash("cannot go on"))

        assert recording.calls == [("a", {"traceparent": "00-1-2-01"}), "end"]


async def test_restart_that_fails_shows_so_on_its_span(stage: Stage) -> None:
    recording = Recording()
    async with stage.running(tree("a"), instrumentation=recording):
        stage.failures["a"].append(ValueError("still broken"))

        await stage.crash("a")

        assert recording.calls[:3] == [("a", {}), ("fail", "ValueError", "still broken"), "end"]


async def test_carrier_survives_the_escalation_through_an_inner_supervisor(stage: Stage) -> None:
    recording = Recording()
    inner = tree("b", intensity=RestartIntensity(0, 60.0))
    async with stage.running(Supervisor([inner]), instrumentation=recording):
        await stage.crash("b", TracedCrash("cannot go on"))

        assert recording.calls == [("tree", {"traceparent": "00-1-2-01"}), "end"]


async def test_each_change_of_state_is_one_log_line(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "callboard.supervision")
    runner = stage.runner(tree("a", "b", intensity=ONE_IN_LONG))
    await runner.start()

    await stage.crash("a")
    await stage.crash("a")
    await runner.stop(0.0)

    assert [record.getMessage() for record in caplog.records] == [
        "tree: a is running: does its part",
        "tree: b is running: does its part",
        "tree: a ended (ValueError); restarting a in 0.0 s",
        "tree: a is running: does its part",
        "tree: a ended (ValueError); too many restarts: parked a, next try in 60.0 s",
        "tree: b is stopped",
    ]
    assert caplog.records[2].exc_info
