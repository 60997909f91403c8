"""Where a process notes what it runs, so that its death can be judged from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["Running"]


class Running(ABC):
    """A table that outlives its process: one row for each message whose handler runs, or is held back.

    The methods are on the hot path, called by one thread, and never raise.
    """

    @abstractmethod
    def begin(self, token: str, *, hard_deadline: float, alone: bool) -> int:
        """A handler begins; the result is its row, for `end`.

        `token` leads to its delivery (`BrokerDelivery.token`). After `hard_deadline` (by `time.monotonic()`, `inf` for
        none) the process is to be replaced. `alone` says that nothing else runs in this process because of it.
        """

    @abstractmethod
    def hold(self, token: str) -> int:
        """A message waits in its slot until others have ended; the result is its row, for `end`. A death of the process
        says nothing about it."""

    @abstractmethod
    def end(self, row: int) -> None:
        """The message is settled, or not held back any more."""
