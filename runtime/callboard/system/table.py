"""What a worker process runs, in memory that outlives it.

The parent makes one table for each worker and hands it over as an inherited file descriptor. It reads it while the
worker runs, and after it died.
"""

from __future__ import annotations

import logging
import os
import tempfile
from math import inf
from mmap import mmap
from struct import Struct
from time import monotonic
from typing import Self

from attrs import frozen

from callboard.routing.running import Running

__all__ = ["TOKEN_SIZE", "Row", "RunningTable"]

logger = logging.getLogger("callboard.worker")

ROWS = 4096
"""Messages that one process can note at once."""
TOKEN_SIZE = 480
"""Bytes of a token. A longer one is noted as empty: the hard limit holds, and after a death its message comes again
when its lease runs out, without a suspicion."""

_FREE, _SHARED, _ALONE, _HELD = 0, 1, 2, 3
_PULSE = Struct("=d")
_PULSE_AT = ROWS
_ROW = Struct(f"=dd{TOKEN_SIZE}s")
_ROWS_AT = ROWS + 64
_SIZE = _ROWS_AT + ROWS * _ROW.size
"""A state for each row, the pulse, then the rows. Memory that is never written costs nothing."""


@frozen
class Row:
    """A message that runs or is held back, or did when its process died. Times are those of `time.monotonic`."""

    token: str
    begun: float
    hard_deadline: float
    alone: bool
    held: bool = False


class RunningTable(Running):
    """The table of one process, on a file descriptor of shared memory.

    A row's state is written last and cleared first: a process that is killed in the middle of a write leaves a row
    that is not there. `begin` and `end` together take 0.4 microseconds (CPython 3.11), system calls: none.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap(fd, _SIZE)
        self._free = list(range(ROWS - 1, -1, -1))
        self._full = False

    @classmethod
    def create(cls) -> tuple[Self, int]:
        """A new table and its descriptor, which the caller closes after its worker has inherited it."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("callboard")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        try:
            os.truncate(fd, _SIZE)
            return cls(fd), fd
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()

    # The worker's side

    def begin(self, token: str, *, hard_deadline: float, alone: bool) -> int:
        """Note a message; one that is too many is not noted (-1), which is logged once."""
        return self._note(token, hard_deadline, _ALONE if alone else _SHARED)

    def hold(self, token: str) -> int:
        """Note a message that is held back, likewise."""
        return self._note(token, inf, _HELD)

    def _note(self, token: str, hard_deadline: float, state: int) -> int:
        if not self._free:
            self._tell_full()
            return -1
        data = token.encode()
        if len(data) > TOKEN_SIZE:
            data = b""
        row = self._free.pop()
        memory = self._memory
        _ROW.pack_into(memory, _ROWS_AT + row * _ROW.size, monotonic(), hard_deadline, data)
        memory[row] = state
        return row

    def end(self, row: int) -> None:
        """Forget a message."""
        if row >= 0:
            self._memory[row] = _FREE
            self._free.append(row)

    def pulse(self) -> None:
        """The event loop turns, and so the leases of what runs are renewed."""
        _PULSE.pack_into(self._memory, _PULSE_AT, monotonic())

    def _tell_full(self) -> None:
        if not self._full:
            self._full = True
            logger.warning("more than %d messages run at once; a death cannot be explained by those beyond", ROWS)

    # The parent's side

    @property
    def last_pulse(self) -> float:
        """When the worker's event loop turned last; 0.0 before it did."""
        pulse: float = _PULSE.unpack_from(self._memory, _PULSE_AT)[0]
        return pulse

    def rows(self) -> list[Row]:
        """What runs now, or ran when the process died."""
        states = self._memory[:ROWS]
        return [self._row(number, state) for number, state in enumerate(states) if state] if any(states) else []

    def overdue(self, now: float) -> list[Row]:
        """What runs past its hard deadline."""
        return [row for row in self.rows() if row.hard_deadline <= now < inf]

    def _row(self, number: int, state: int) -> Row:
        begun, deadline, token = _ROW.unpack_from(self._memory, _ROWS_AT + number * _ROW.size)
        return Row(token.rstrip(b"\0").decode(errors="replace"), begun, deadline, state == _ALONE, state == _HELD)
