"""Carries out what the decisions say: starts, watches, restarts and stops the children of one supervisor.

One task handles the exits of all children one after the other. Restarts are tasks of their own, one at a time
in each lane: with `one_for_one` each child has its lane, otherwise all share one, and a new restart there
replaces the one in progress. A stop, once begun, always runs to its end.
"""

from __future__ import annotations

import asyncio
import math
import random as randomness
import time
from collections.abc import Awaitable, Callable, Iterable

from attrs import frozen

from callboard.errors import ClosedError, RestartLimitExceeded
from callboard.instrumentation import NO_INSTRUMENTATION, Instrumentation
from callboard.supervision.cause import carrier_of, exit_of
from callboard.supervision.child import Child, ChildState, State
from callboard.supervision.decision import Decider, Escalate, Exit, Leave, RestartChildren
from callboard.supervision.incarnation import Incarnation, uninterrupted
from callboard.supervision.journal import Journal
from callboard.supervision.seat import Departure, Seat
from callboard.supervision.specification import ChildSpec, Strategy, Supervisor

__all__ = ["SupervisorRunner", "Timing"]


@frozen
class Timing:
    """Durations of the runner in seconds, and where time and chance come from."""

    park_probe: float = 60.0
    """How long a parked child stays stopped before it is tried again."""
    restart_grace: float = 5.0
    """What children get to finish when they are stopped for a restart or an escalation; OTP's default."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    now: Callable[[], float] = time.monotonic
    random: Callable[[], float] = randomness.random


class SupervisorRunner:
    """Runs the tree under `supervisor`; is itself a Child, so runners nest.

    `make_child` gives a fresh Child for each start of an actor class or function; nested supervisors are run
    here. Used once: after `stop` make a new one.

    * Children start in order. Until the first start is complete, a child that cannot start makes `start`
      fail: a broken configuration is seen at once. Later that is a crash like any other.
    * SubstrateError (alone or as the whole of an exception group) uses no budget. A start that raises it is
      tried again with backoff for ever; later children wait. A running child that raises it is restarted by
      strategy.
    * Budget exceeded: see Supervisor. A parked child is tried again every `timing.park_probe` seconds; it is
      parked again at its next crash unless it has run for one period of the restart intensity.
    * A restart is a span of `instrumentation`, under the attempt whose trace headers the error carries.

    `root=False` makes it escalate where a root would park.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        make_child: Callable[[ChildSpec], Child],
        *,
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
        timing: Timing = Timing(),
        root: bool = True,
    ) -> None:
        self.name = supervisor.name
        self.summary = ""
        self._supervisor = supervisor
        self._make_child = make_child
        self._instrumentation = instrumentation
        self._timing = timing
        self._journal = Journal(self.name)
        self._seats = {spec.name: Seat(spec) for spec in supervisor.children}
        self._decider = Decider(supervisor, root=root, park_probe=timing.park_probe, random=timing.random)
        self._exits: asyncio.Queue[Departure] = asyncio.Queue()
        self._restarts: dict[str, asyncio.Task[object]] = {}
        self._tasks = asyncio.TaskGroup()
        self._supervision: asyncio.Task[Exception] | None = None
        self._winding_up: asyncio.Task[None] | None = None
        self._waiting = set(self._seats)
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._draining = False
        self._stop_requested = False
        self._deadline = math.inf
        self._failure: BaseException | None = None

    async def start(self) -> None:
        """Return when all children have started. Failed or cancelled, all are stopped again, in reverse.

        Raises what the child raised that could not start, RestartLimitExceeded when a child crashed too often
        before the last one had started, ClosedError when `stop` was called before or meanwhile.
        """
        if self._ended.is_set():
            raise ClosedError(self.name)
        self._supervision = asyncio.create_task(self._supervise(), name=f"supervise {self.name}")
        self._winding_up = asyncio.create_task(self._wind_up(self._supervision), name=f"wind up {self.name}")
        try:
            await self._ready.wait()
        except asyncio.CancelledError:
            await uninterrupted(self.stop(0.0))
            raise
        if self._ended.is_set():
            raise self._failure or ClosedError(self.name)

    async def wait(self) -> None:
        """Return after `stop`; raise RestartLimitExceeded when the budget was exceeded and nobody parked.

        Either way all children are stopped by then. Children that ended do not end their supervisor.
        """
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    async def drain(self) -> None:
        """Drain all children at once. From now on nothing is restarted; call `stop` next."""
        self._draining = True
        for restart in self._restarts.values():
            restart.cancel()
        await asyncio.gather(*(incarnation.drain() for incarnation in self._incarnations()))

    async def stop(self, grace: float) -> None:
        """Drain all children at once, then stop them in reverse order; all share `grace` seconds.

        Idempotent. A call during another can shorten the grace; cancelling shortens it to 0, and is raised
        when everything is stopped.
        """
        if self._supervision is None:
            self._ended.set()
            return
        self._deadline = min(self._deadline, self._timing.now() + grace)
        if not self._stop_requested:
            self._stop_requested = True
            self._supervision.cancel()
        try:
            await asyncio.gather(*(i.stop(self._remaining()) for i in self._incarnations() if i.stopping))
            await self._ended.wait()
        except asyncio.CancelledError:
            await uninterrupted(self.stop(0.0))
            raise

    def states(self) -> tuple[ChildState, ...]:
        """All children in start order; those of a nested supervisor follow it as soon as it has started."""
        return tuple(state for seat in self._seats.values() for state in _states(seat))

    async def _supervise(self) -> Exception:
        """Go on until cancelled, or return what the supervisor failed with."""
        try:
            async with self._tasks:
                try:
                    self._restarts[""] = self._tasks.create_task(self._start_in_order(self._seats))
                    while True:
                        await self._react(await self._exits.get())
                finally:
                    await uninterrupted(self.drain())
        except ExceptionGroup as group:
            return group.exceptions[0] if len(group.exceptions) == 1 else group

    async def _wind_up(self, supervision: asyncio.Task[Exception]) -> None:
        await asyncio.wait([supervision])
        if not supervision.cancelled():
            self._failure = supervision.exception() or supervision.result()
            self._deadline = min(self._deadline, self._timing.now() + self._timing.restart_grace)
        for seat in reversed(self._seats.values()):
            await seat.release(self._remaining())
            if seat.state is State.RUNNING:
                self._journal.stopped(seat.name)
            seat.state = State.STOPPED
        self._ended.set()
        self._ready.set()

    async def _react(self, departure: Departure) -> None:
        seat, error = departure.seat, departure.error
        if self._draining or not departure.is_news():
            return
        action = self._decider.exited(seat.name, exit_of(error), self._timing.now())
        match action:
            case Leave():
                self._leave(seat, error)
            case Escalate():
                raise self._limit_exceeded(seat, error) from error
            case RestartChildren():
                await self._replace_restart(seat, action, error)

    def _leave(self, seat: Seat, error: Exception | None) -> None:
        seat.vacate(State.STOPPED)
        self._journal.left(seat.name, error)
        self._tasks.create_task(seat.release(self._timing.restart_grace))

    def _limit_exceeded(self, seat: Seat, error: Exception | None) -> RestartLimitExceeded:
        self._journal.escalated(seat.name, error)
        intensity = self._supervisor.intensity
        return RestartLimitExceeded(self.name, intensity.max_restarts, intensity.period)

    async def _replace_restart(self, seat: Seat, action: RestartChildren, error: Exception | None) -> None:
        lane = seat.name if self._supervisor.strategy is Strategy.ONE_FOR_ONE else ""
        before = self._restarts.get(lane)
        if before is not None:
            before.cancel()
            await asyncio.wait([before])
        waiting = State.PARKED if action.parked else State.BACKING_OFF
        for name in action.stop:
            self._seats[name].vacate(waiting if name in action.start else State.STOPPED)
        self._journal.restarting(seat.name, error, action)
        restart = self._restart(action) if action.parked else self._traced_restart(seat, action, error)
        self._restarts[lane] = self._tasks.create_task(restart)

    async def _traced_restart(self, seat: Seat, action: RestartChildren, error: Exception | None) -> None:
        span = self._instrumentation.restart(seat.name, carrier_of(error))
        try:
            failure = await self._restart(action)
            if failure is not None:
                span.fail(type(failure).__name__, str(failure))
        finally:
            span.end()

    async def _restart(self, action: RestartChildren) -> Exception | None:
        for name in action.stop:
            await self._seats[name].release(self._timing.restart_grace)
        await self._timing.sleep(action.delay)
        return await self._start_in_order(action.start)

    async def _start_in_order(self, names: Iterable[str]) -> Exception | None:
        """Ends at the first child that cannot start, and returns why: its exit decides how to go on."""
        for name in names:
            seat = self._seats[name]
            try:
                await self._begin(seat)
            except Exception as error:
                if not self._ready.is_set():
                    raise
                self._exits.put_nowait(Departure(seat, seat.incarnation, error))
                return error
        return None

    async def _begin(self, seat: Seat) -> None:
        while True:
            await seat.release(self._timing.restart_grace)
            seat.state = State.STARTING
            try:
                seat.incarnation = Incarnation(self._new_child(seat.spec))
                await seat.incarnation.start()
                break
            except Exception as error:
                if exit_of(error) is not Exit.OUTAGE:
                    raise
                await self._sit_out(seat, error)
        watcher = self._tasks.create_task(self._watch(seat, seat.incarnation))
        if seat.begun:
            self._instrumentation.statistics.restarts[seat.name] += 1
        seat.take(seat.incarnation, watcher)
        self._decider.started(seat.name, self._timing.now())
        self._journal.running(seat.name, seat.incarnation.child.summary)
        self._waiting.discard(seat.name)
        if not self._waiting:
            self._ready.set()

    async def _sit_out(self, seat: Seat, error: Exception) -> None:
        seat.state = State.BACKING_OFF
        delay = self._decider.outage(seat.name)
        self._journal.unavailable(seat.name, error, delay)
        await self._timing.sleep(delay)

    async def _watch(self, seat: Seat, incarnation: Incarnation) -> None:
        try:
            await incarnation.wait()
        except Exception as error:  # noqa: BLE001 - whatever an actor raises
            self._exits.put_nowait(Departure(seat, incarnation, error))
        else:
            self._exits.put_nowait(Departure(seat, incarnation, None))

    def _new_child(self, spec: ChildSpec) -> Child:
        if not isinstance(spec.target, Supervisor):
            return self._make_child(spec)
        return SupervisorRunner(
            spec.target,
            self._make_child,
            instrumentation=self._instrumentation,
            timing=self._timing,
            root=False,
        )

    def _incarnations(self) -> list[Incarnation]:
        present = (seat.incarnation for seat in self._seats.values())
        return [incarnation for incarnation in present if incarnation is not None]

    def _remaining(self) -> float:
        return max(0.0, self._deadline - self._timing.now())


def _states(seat: Seat) -> Iterable[ChildState]:
    yield ChildState(seat.name, seat.state, seat.restarts)
    if seat.incarnation is not None and isinstance(seat.incarnation.child, SupervisorRunner):
        yield from seat.incarnation.child.states()
