"""What handlers did: when the first and the last message was handled, and whether each was handled once."""

from __future__ import annotations

import asyncio
from time import perf_counter

from benchmarks.work import Figures

__all__ = ["Effects", "percentile"]

MOST = 255


class Effects:
    """Counts the effects of one run, at the cost of a few list operations for each."""

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._times = bytearray(b"\0" * messages)  # written once, so that its pages do not grow the process later
        self._complete = asyncio.Event()
        self._begun = self._ended = 0.0
        self.handled = 0

    def note(self, number: int) -> None:
        """A message is handled."""
        if not self.handled:
            self._begun = perf_counter()
        self.handled += 1
        self._times[number] = min(MOST, self._times[number] + 1)
        if self.handled == self._messages:
            self._ended = perf_counter()
            self._complete.set()

    async def wait(self, patience: float) -> None:
        """Return when there are as many effects as messages, or after `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                await self._complete.wait()
        except TimeoutError:
            self._ended = perf_counter()

    def figures(self) -> Figures:
        """`rate` in messages a second from the first to the last; `missing` messages had no effect at all."""
        seconds = max(self._ended - self._begun, 1e-9)
        return {
            "handled": self.handled,
            "missing": self._times.count(0),
            "seconds": seconds,
            "rate": (self._messages - 1) / seconds,
            "cost_us": 1e6 * seconds / max(1, self._messages - 1),
        }


def percentile(values: list[float], part: float) -> float:
    """The value that `part` (0 to 1) of all are not above."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(part * len(ranked)))]
