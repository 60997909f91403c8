"""When so many messages fail that it cannot be the messages."""

from __future__ import annotations

import random as randomness
from collections import OrderedDict
from collections.abc import Callable, Hashable

from callboard.backoff import jittered

__all__ = ["KillSwitch"]

WINDOW = 20
THRESHOLD = 10
"""So many failures among the last `WINDOW` distinct messages are an outage."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Seconds without messages before one is tried; doubled each time that it fails."""


class KillSwitch:
    """Decides for one mailbox when to pause, for how long, and when to go on. It keeps no time.

    Tell it the outcome of each message; while it is `tripped`, a failure says that the outage goes on and a success
    that it is over.
    """

    __slots__ = ("_outcomes", "_pauses", "_random", "failures", "quiet", "tripped")

    def __init__(self, random: Callable[[], float] = randomness.random) -> None:
        self._random = random
        self._outcomes: OrderedDict[Hashable, bool] = OrderedDict()
        """Whether each of the last messages failed; empty as long as none did."""
        self._pauses = 0
        self.failures = 0
        """How many of the last messages failed."""
        self.quiet = 0
        """Successes before the first failure: while `failures` is 0 and nothing tripped, a success need not be told but
        only counted here, which costs next to nothing."""
        self.tripped = False
        """Whether an outage is on."""

    def succeeded(self, message: Hashable) -> bool:
        """A message was handled. True when this ends an outage."""
        if self.tripped:
            self._reset()
            return True
        self._note(message, failed=False)
        return False

    def failed(self, message: Hashable) -> float:
        """A message failed. Seconds to pause; 0 when that is no reason to."""
        if not self.tripped:
            self._note(message, failed=True)
            if self.failures < THRESHOLD or self.quiet + len(self._outcomes) < WINDOW:
                return 0.0
        return self.trip()

    def trip(self) -> float:
        """There is an outage, whatever the count says. Seconds to pause."""
        self.tripped = True
        self._pauses += 1
        return jittered(min(FIRST_PAUSE * 2 ** (self._pauses - 1), LONGEST_PAUSE), self._random)

    def _note(self, message: Hashable, *, failed: bool) -> None:
        self.failures += failed - self._outcomes.pop(message, False)
        self._outcomes[message] = failed
        if len(self._outcomes) > WINDOW:
            self.failures -= self._outcomes.popitem(last=False)[1]
        if not self.failures:
            self.quiet += len(self._outcomes)
            self._outcomes.clear()

    def _reset(self) -> None:
        self._outcomes.clear()
        self.failures = self._pauses = self.quiet = 0
        self.tripped = False
