"""One place for one running message."""

from __future__ import annotations

import asyncio
from enum import Enum
from math import inf

from callboard.brokers.delivery import BrokerDelivery

__all__ = ["Interruption", "Slot"]


class Interruption(Enum):
    """Why a running handler was cancelled by the runtime."""

    TIMEOUT = "timeout"
    STOP = "stop"


class Slot:
    """A long-lived task that handles one message after another.

    Only while `running` may the runtime interrupt it: the handler is suspended then, so the cancellation lands
    inside the handler and nowhere in the settlement.
    """

    __slots__ = ("deadline", "delivery", "interruption", "lease", "running", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.delivery: BrokerDelivery | None = None
        self.lease = 30.0
        self.deadline = inf
        """Time at which the handler is cancelled."""
        self.running = False
        self.interruption: Interruption | None = None

    def begin(self, delivery: BrokerDelivery, lease: float) -> None:
        """Take up a delivery."""
        self.delivery = delivery
        self.lease = lease
        self.interruption = None

    def enter_handler(self, deadline: float) -> None:
        """The handler begins; it has until `deadline`."""
        self.deadline = deadline
        self.running = True

    def leave_handler(self) -> None:
        """The handler ended, however it did. An interruption is over then and counts as no cancellation of the task:
        what runs next in it (task groups, timeouts) must not believe that it is cancelled."""
        if self.running and self.interruption is not None and self.task is not None:
            self.task.uncancel()
        self.running = False
        self.deadline = inf

    def end(self) -> None:
        """The delivery is settled."""
        self.delivery = None

    def interrupt(self, why: Interruption) -> None:
        """Cancel the handler that runs now, once."""
        if self.running and self.interruption is None and self.task is not None:
            self.interruption = why
            self.task.cancel()
