"""How long to wait before the next try.

`Backoff` spaces the restarts of an actor, `jittered` spreads the retries of messages. Both are pure: the same
random numbers give the same seconds.

Source of full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
"""

from __future__ import annotations

import math
import random as randomness
from collections.abc import Callable

from attrs import Attribute, field, frozen

from callboard.errors import DeclarationError

__all__ = ["Backoff", "jittered"]


def _positive(_backoff: object, attribute: Attribute[float], value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise DeclarationError("Backoff", f"{attribute.name} must be positive and finite, not {value!r}")


@frozen
class Backoff:
    """Exponential backoff with full jitter; the first try comes at once.

    Try 0 waits 0 s. Try n (from 1) waits a random time above 0 and up to `base * factor ** (n - 1)` seconds,
    never more than `maximum`. Whoever uses it counts the tries and decides when to count from 0 again.

    Raises DeclarationError when a value is not positive and finite, `factor` is below 1, or `maximum` is
    below `base`.
    """

    base: float = field(default=1.0, validator=_positive)
    """Longest wait before try 1, in seconds."""
    factor: float = field(default=2.0, validator=_positive)
    """By how much the longest wait grows from one try to the next."""
    maximum: float = field(default=30.0, validator=_positive)
    """Longest wait of all, in seconds."""

    def __attrs_post_init__(self) -> None:
        if self.factor < 1:
            raise DeclarationError("Backoff", f"factor must be 1 or more, not {self.factor!r}")
        if self.maximum < self.base:
            raise DeclarationError("Backoff", f"maximum {self.maximum!r} must not be below base {self.base!r}")

    def delay(self, n: int, random: Callable[[], float] = randomness.random) -> float:
        """Seconds to wait before try `n`; `random` returns a number from 0 up to, but not including, 1."""
        return self._ceiling(n) * (1.0 - random())

    def expected(self, tries: int) -> float:
        """Seconds that the waits before the first `tries` tries take together, on average."""
        return sum(self._ceiling(n) / 2 for n in range(tries))

    def _ceiling(self, n: int) -> float:
        if n <= 0:
            return 0.0
        try:
            return min(self.maximum, self.base * self.factor ** (n - 1))
        except OverflowError:  # after some thousand tries against a lost server
            return self.maximum


def jittered(delay: float, random: Callable[[], float] = randomness.random) -> float:
    """`delay` seconds plus up to 25 %: never shorter than what a retry policy declares.

    Messages that failed together do not come back together. `random` as for `Backoff.delay`.
    """
    return delay * (1.0 + 0.25 * random())
