"""What the handlers of a service say that they do, from all its processes."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field, frozen

__all__ = ["NOTE", "Entry", "Journal"]

NOTE = '''
import os
import time


def note(word: str, name: object) -> None:
    """One line, which is there when the process dies right after."""
    file = os.open("journal.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(file, f"{word} {name} {os.getpid()} {time.monotonic()}\\n".encode())
    os.close(file)
'''
"""Source of `note(word, name)`, for the module of a service."""


@frozen
class Entry:
    """One line."""

    word: str
    name: str
    pid: int
    at: float
    """By `time.monotonic`, which all processes share."""


@define
class Journal:
    """Reads on from where it was."""

    path: Path
    entries: list[Entry] = field(factory=list[Entry])
    _read: int = 0

    def read(self) -> list[Entry]:
        """All entries so far."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._read += len(whole) + 1
                self.entries += [_entry(line) for line in whole.decode().splitlines()]
        return self.entries

    def names(self, word: str) -> list[str]:
        """Who is named with a word, once for each time."""
        return [entry.name for entry in self.read() if entry.word == word]

    def running(self) -> dict[str, Entry]:
        """What began last and has not ended, by name."""
        open_: dict[str, Entry] = {}
        for entry in self.read():
            if entry.word == "begin":
                open_[entry.name] = entry
            elif entry.word == "end":
                open_.pop(entry.name, None)
        return open_


def _entry(line: str) -> Entry:
    word, name, pid, at = line.split()
    return Entry(word, name, int(pid), float(at))
