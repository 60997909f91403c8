"""What to do when a child has ended: a state machine without tasks, without a clock.

Times are given by the caller, in seconds of any steady clock.
"""

from __future__ import annotations

import random as randomness
from collections import defaultdict, deque
from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

from attrs import define, frozen

from callboard.supervision.specification import ChildSpec, Restart, Strategy, Supervisor

__all__ = ["Action", "Decider", "Escalate", "Exit", "Leave", "RestartChildren"]


class Exit(Enum):
    """How a child ended, or why it could not start."""

    NORMAL = "normal"
    CRASH = "crash"
    OUTAGE = "outage"
    """The message system was not available: costs no budget."""


@frozen
class Leave:
    """The child stays stopped; its siblings notice nothing."""


@frozen
class RestartChildren:
    """Stop `stop` one after the other, wait `delay` seconds, start `start` one after the other."""

    stop: tuple[str, ...]
    start: tuple[str, ...]
    delay: float
    parked: bool = False
    """The budget is spent: until the delay is over the children count as given up."""


@frozen
class Escalate:
    """Stop all children and fail: the parent decides, and above the root the process ends."""


Action: TypeAlias = Leave | RestartChildren | Escalate


@define
class _Record:
    spec: ChildSpec
    restarts: int = 0
    outages: int = 0
    started: bool = False
    running_since: float | None = None
    probation: bool = False
    """Came back from being parked and has not been stable since: the next crash parks it again."""


class Decider:
    """Decides for one supervisor. Tell it when a child `started`, ask it when one has `exited`.

    `root` says that there is no parent to escalate to. `park_probe` is the time, in seconds, after which a
    parked child is tried again. `random` as for `Backoff.delay`.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        root: bool,
        park_probe: float = 60.0,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._supervisor = supervisor
        self._root = root
        self._park_probe = park_probe
        self._random = random
        self._records = {spec.name: _Record(spec) for spec in supervisor.children}
        self._windows: defaultdict[str, deque[float]] = defaultdict(deque)

    def started(self, name: str, now: float) -> None:
        """A child works, for the first time or again."""
        record = self._records[name]
        record.started = True
        record.running_since = now

    def exited(self, name: str, how: Exit, now: float) -> Action:
        """What follows from the end of a child that ran, or from a restart that could not start it.

        Not to be asked about children that the supervisor itself has stopped.
        """
        record = self._records[name]
        self._note_end(record, now)
        if not _comes_back(record.spec.restart, how):
            return Leave()
        if how is Exit.OUTAGE:
            return RestartChildren(*self._affected(name), self._outage_delay(record))
        if record.probation or not self._within_budget(name, now):
            return self._give_up(record)
        delay = self._supervisor.backoff.delay(record.restarts, self._random)
        record.restarts += 1
        return RestartChildren(*self._affected(name), delay)

    def outage(self, name: str) -> float:
        """Seconds to wait before a start that met an outage is tried again; grows from call to call."""
        return self._outage_delay(self._records[name])

    def _note_end(self, record: _Record, now: float) -> None:
        stable = self._supervisor.intensity.period
        if record.running_since is not None and now - record.running_since >= stable:
            record.restarts = record.outages = 0
            record.probation = False
        record.running_since = None

    def _outage_delay(self, record: _Record) -> float:
        # A count of its own: else crashes after a long outage would be spaced too far to reach the limit.
        delay = self._supervisor.backoff.delay(record.outages, self._random)
        record.outages += 1
        return delay

    def _affected(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names to stop and names to start, each in the order in which it is to happen."""
        group = self._group(name)
        start = tuple(other for other in group if not self._is_spent(other))
        return tuple(reversed(group)), start

    def _group(self, name: str) -> list[str]:
        names = list(self._records)
        match self._supervisor.strategy:
            case Strategy.ONE_FOR_ONE:
                return [name]
            case Strategy.REST_FOR_ONE:
                return names[names.index(name) :]
            case Strategy.ONE_FOR_ALL:
                return names

    def _is_spent(self, name: str) -> bool:
        record = self._records[name]
        return record.spec.restart is Restart.TEMPORARY and record.started

    def _within_budget(self, name: str, now: float) -> bool:
        intensity, window = self._supervisor.intensity, self._window(name)
        window.append(now)
        while now - window[0] > intensity.period:
            window.popleft()
        return len(window) <= intensity.max_restarts

    def _window(self, name: str) -> deque[float]:
        alone = self._root and self._supervisor.strategy is Strategy.ONE_FOR_ONE
        return self._windows[name if alone else ""]

    def _give_up(self, record: _Record) -> Action:
        name = record.spec.name
        group = self._group(name)
        if not self._root or any(self._records[other].spec.indispensable for other in group):
            return Escalate()
        record.probation = True
        self._window(name).clear()
        return RestartChildren(*self._affected(name), self._park_probe, parked=True)


def _comes_back(restart: Restart, how: Exit) -> bool:
    match restart:
        case Restart.PERMANENT:
            return True
        case Restart.TRANSIENT:
            return how is not Exit.NORMAL
        case Restart.TEMPORARY:
            return False
