"""Effects of several processes, in the order in which they happened."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

from attrs import frozen

from benchmarks.work import Figures

__all__ = ["Entry", "Journal", "count", "figures_of", "read"]

_ENTRY = struct.Struct("<IId")


@frozen
class Entry:
    """A message that was handled."""

    number: int
    process: int
    time: float
    """By the machine's monotonic clock, which its processes share."""


class Journal:
    """Appends to a file; one write for an entry, so that processes do not disturb each other."""

    def __init__(self, target: str) -> None:
        self._file = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def note(self, number: int) -> None:
        """A message is handled."""
        os.write(self._file, _ENTRY.pack(number, os.getpid(), perf_counter()))


def count(source: Path) -> int:
    """How many entries there are so far; cheap, so that asking often takes nothing from those who work."""
    return source.stat().st_size // _ENTRY.size if source.exists() else 0


def read(source: Path) -> list[Entry]:
    """All entries so far."""
    content = source.read_bytes() if source.exists() else b""
    whole = len(content) - len(content) % _ENTRY.size
    return [Entry(*fields) for fields in _ENTRY.iter_unpack(content[:whole])]


def figures_of(entries: Iterable[Entry], messages: int) -> Figures:
    """As of `Effects`, and `share`: which part of the messages the busiest process handled."""
    entries = list(entries)
    times = sorted(entry.time for entry in entries) or [0.0]
    seconds = max(times[-1] - times[0], 1e-9)
    busiest = max(Counter(entry.process for entry in entries).values(), default=0)
    return {
        "handled": len(entries),
        "missing": messages - len({entry.number for entry in entries}),
        "seconds": seconds,
        "rate": (messages - 1) / seconds,
        "share": busiest / max(1, len(entries)),
    }
