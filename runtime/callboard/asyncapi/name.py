"""Names in a document."""

from __future__ import annotations

import re

__all__ = ["Names", "identifier"]


class Names:
    """Names that were given already; none is given twice."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def unique(self, *wanted: str) -> str:
        """The first of the wanted names that nobody has, else the last one with a number."""
        names = [identifier(name) for name in wanted]
        names.extend(f"{names[-1]}_{number}" for number in range(2, len(self._given) + 3))
        name = next(name for name in names if name not in self._given)
        self._given.add(name)
        return name


def identifier(text: str) -> str:
    """A text as the key of a component: letters, digits, `.`, `-` and `_`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)
