"""What all errors have in common."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CallboardError",
    "ClosedError",
    "InvalidArgumentError",
    "MissingExtraError",
    "did_you_mean",
]


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """The hint `; did you mean 'x'?` for the nearest known name, or an empty string when none is near."""
    names = list(known)
    inside = [name for name in names if name.rpartition(".")[2] == value]  # right, but in another place
    near = inside[:1] or get_close_matches(value, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


class CallboardError(Exception):
    """Base of everything that Callboard raises on purpose."""


class ClosedError(CallboardError, RuntimeError):
    """A resource was used after its `destroy()`, or after the application had begun to stop."""

    def __init__(self, resource: str) -> None:
        self.resource = resource
        super().__init__(f"{resource} is closed; create a new one, or keep its 'async with' block open")


class InvalidArgumentError(CallboardError, ValueError):
    """Something was made, or called, with an argument that it cannot take."""


class MissingExtraError(CallboardError, ImportError):
    """A feature needs packages that are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        self.feature = feature
        self.extra = extra
        super().__init__(f"{feature} needs the extra {extra!r}: pip install 'callboard[{extra}]'")
