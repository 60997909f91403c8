"""How `callboard run` is, as probes ask for it: what the parent knows of its workers, and what they report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from time import monotonic
from typing import Any, Protocol

import cattrs
from attrs import define, field

from callboard.system.status import Readiness, Status
from callboard.system.web import Response, Route, json_response

__all__ = ["Health", "Watched"]

STALE = 5.0
"""Seconds after which the last report and the last sign of life of a worker say nothing any more: ten times as long as
it leaves between two looks at itself."""
STUCK = 60.0
"""Seconds without a turn of a worker's event loop after which only a restart of everything seems to help. Twice the
usual `ack_wait`: its messages are with others since, and the parent has killed it where a hard limit was declared."""


class Watched(Protocol):
    """What is looked at from outside of a worker."""

    @property
    def pid(self) -> int: ...
    @property
    def last_pulse(self) -> float:
        """When its event loop turned last; before the first time, when it was started."""
        ...


@define
class _Seat:
    """The place of one worker; processes come and go."""

    number: int
    worker: Watched | None = None
    status: Status = field(factory=Status)
    heard: float = 0.0
    """When it reported last; 0.0 before the first time."""
    started: bool = False
    """Whether a worker here was ready once."""


class Health:
    """Answers `/live`, `/ready` and `/startup`, each with 200 or 503 and the reasons.

    * `/startup`: each worker was ready once. Stays.
    * `/ready`: each worker is ready, or degraded, and has said so lately; nothing is being stopped.
    * `/live`: the parent answers, and no worker's event loop has been stuck for a minute.
    """

    def __init__(self, workers: int, stopping: Callable[[], bool], clock: Callable[[], float] = monotonic) -> None:
        self._seats = [_Seat(number) for number in range(workers)]
        self._stopping = stopping
        self._clock = clock

    @property
    def routes(self) -> Mapping[str, Route]:
        """For a web server."""
        return {"/live": self.live, "/ready": self.ready, "/startup": self.startup}

    def took(self, number: int, worker: Watched) -> None:
        """A process took the worker's seat."""
        seat = self._seats[number]
        seat.worker, seat.status, seat.heard = worker, Status(), 0.0

    def left(self, number: int) -> None:
        """The process in this seat is gone."""
        self._seats[number].worker = None

    def heard(self, number: int, status: Status) -> None:
        """The worker in this seat says how it is."""
        seat = self._seats[number]
        seat.status, seat.heard = status, self._clock()
        seat.started |= status.readiness is not Readiness.NOT_READY

    def startup(self) -> Response:
        waiting = [f"worker {seat.number} has not been ready yet" for seat in self._seats if not seat.started]
        workers = [_identity(seat) | {"started": seat.started} for seat in self._seats]
        return _answer("starting" if waiting else "started", waiting, workers, ok=not waiting)

    def live(self) -> Response:
        workers = [_identity(seat) | {"silent": round(self._silence(seat), 3)} for seat in self._seats]
        stuck = [
            f"worker {seat.number}: its event loop has stood still for {self._silence(seat):.0f} s"
            for seat in self._seats
            if self._silence(seat) > STUCK
        ]
        return _answer("stuck" if stuck else "live", stuck, workers, ok=not stuck)

    def ready(self) -> Response:
        workers = [self._worker(seat) for seat in self._seats]
        levels = [Readiness(worker["status"]) for worker in workers]
        reasons = [f"worker {worker['number']}: {text}" for worker in workers for text in worker["reasons"]]
        if self._stopping():
            levels.append(Readiness.NOT_READY)
            reasons.insert(0, "it is stopping")
        worst = max(levels, key=[*Readiness].index)
        return _answer(worst, reasons, workers, ok=worst is not Readiness.NOT_READY)

    def _worker(self, seat: _Seat) -> dict[str, Any]:
        """One worker, with what it last said of itself as far as that still counts."""
        if seat.worker is None:
            status, failures = Status(), ["there is no process"]
        else:
            status, failures = seat.status, [*self._failures(seat, seat.worker)]
        return _identity(seat) | {
            "status": Readiness.NOT_READY if failures else status.readiness,
            "reasons": failures or status.reasons,
            "actors": cattrs.unstructure(status.actors),
        }

    def _failures(self, seat: _Seat, worker: Watched) -> Iterator[str]:
        """What keeps a worker from being ready whatever it last said of itself."""
        if (silence := self._clock() - worker.last_pulse) > STALE:
            yield f"its event loop has stood still for {silence:.0f} s"
        elif seat.heard and (silence := self._clock() - seat.heard) > STALE:
            yield f"it has not reported for {silence:.0f} s"

    def _silence(self, seat: _Seat) -> float:
        """Seconds since the worker's event loop turned; 0.0 where there is no worker."""
        return 0.0 if seat.worker is None else self._clock() - seat.worker.last_pulse


def _identity(seat: _Seat) -> dict[str, Any]:
    return {"number": seat.number, "pid": None if seat.worker is None else seat.worker.pid}


def _answer(status: str, reasons: list[str], workers: list[dict[str, Any]], *, ok: bool) -> Response:
    code = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
    return json_response({"status": status, "reasons": reasons, "workers": workers}, code)
