"""What a supervisor needs of whatever it supervises."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from attrs import frozen

__all__ = ["Child", "ChildState", "State"]


class Child(Protocol):
    """One life of an actor, a worker or a nested supervisor. Each start gets a fresh object."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str:
        """What it does, for the log line that says it runs; may be empty."""
        ...

    async def start(self) -> None:
        """Return once it works; raise when it cannot start. Cancelled or failed, it cleans up by itself."""
        ...

    async def wait(self) -> None:
        """Return when it ended normally by itself; raise what crashed it. Cancelling `wait` changes nothing.

        The exception may have an attribute `carrier`, the trace headers of the attempt that crashed it.
        """
        ...

    async def drain(self) -> None:
        """Stop taking new work and hand back what has not begun. Quick, idempotent, safe before `start` and
        after `stop`."""
        ...

    async def stop(self, grace: float) -> None:
        """Drain, let what runs finish for at most `grace` seconds, cancel the rest, release everything.

        Idempotent and never raises. A call during another may shorten the grace, never extend it. It is not
        cancelled by its supervisor.
        """
        ...


class State(StrEnum):
    """Where a child is, as health pages show it."""

    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing off"
    """Stopped, and about to be started again."""
    PARKED = "parked"
    """Given up for a while: tried again, but rarely."""
    STOPPED = "stopped"
    """Not started yet, ended for good, or stopped with its supervisor."""


@frozen
class ChildState:
    """What a supervisor knows about one child."""

    name: str
    state: State
    restarts: int
    """How often it was started again by its present supervisor."""
