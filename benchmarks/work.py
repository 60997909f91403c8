"""What a contender is told, and what it answers. Imports nothing that only one side has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from attrs import field, frozen

__all__ = ["Figures", "Option", "Work"]

Option = int | float | str

Figures = dict[str, float]
"""What one run measured, by name. `handled` and `missing` say whether it counts at all."""


@frozen
class Work:
    """One run of one contender, in a process of its own."""

    url: str
    """The server."""
    stream: str
    """A stream that nobody used before; it takes the subjects `topic` and below."""
    messages: int
    """How many, numbered from 0."""
    options: Mapping[str, Option] = field(factory=dict[str, Option])
    """What this contender does differently from others with the same program."""
    sink: str = ""
    """Where spans go; empty: tracing is off."""
    data: str = ""
    """A file with the contents to send, a line of JSON each; at least as many as messages."""
    patience: float = 120.0
    """Seconds after which a run that has not handled everything gives up; it is void then."""

    @property
    def topic(self) -> str:
        return f"{self.stream.lower()}.departed"

    def number(self, name: str, default: float = 0) -> int:
        """An option that is a whole number."""
        return int(self.options.get(name, default))

    def contents(self) -> list[dict[str, Any]]:
        """What to send."""
        with Path(self.data).open("rb") as lines:
            return [json.loads(line) for line in islice(lines, self.messages)]
