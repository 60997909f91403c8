"""The place of one child in its supervisor: incarnations come and go, the seat counts them."""

from __future__ import annotations

import asyncio

from attrs import define, frozen

from callboard.supervision.child import State
from callboard.supervision.incarnation import Incarnation
from callboard.supervision.specification import ChildSpec

__all__ = ["Departure", "Seat"]


@define(eq=False)
class Seat:
    """One child of a running supervisor."""

    spec: ChildSpec
    state: State = State.STOPPED
    restarts: int = 0
    begun: bool = False
    """Has worked at least once."""
    incarnation: Incarnation | None = None
    """The latest one; None before the first."""
    watcher: asyncio.Task[None] | None = None
    """Waits for the end of the incarnation."""

    @property
    def name(self) -> str:
        return self.spec.name

    def take(self, incarnation: Incarnation, watcher: asyncio.Task[None]) -> None:
        """The incarnation works."""
        self.incarnation = incarnation
        self.watcher = watcher
        self.state = State.RUNNING
        self.restarts += self.begun
        self.begun = True

    def vacate(self, state: State) -> None:
        """The incarnation is to be stopped: from here on its end is no news."""
        self.state = state
        if self.watcher is not None:
            self.watcher.cancel()

    async def release(self, grace: float) -> None:
        """Stop the incarnation, if there is one that holds anything."""
        if self.incarnation is not None:
            await self.incarnation.stop(grace)


@frozen
class Departure:
    """An incarnation ended, or could not start, with `error`; None is a normal end."""

    seat: Seat
    incarnation: Incarnation | None
    error: Exception | None

    def is_news(self) -> bool:
        """False when the supervisor has decided to stop this incarnation before it heard of its end."""
        up = self.seat.state in (State.STARTING, State.RUNNING)
        return up and self.seat.incarnation is self.incarnation
