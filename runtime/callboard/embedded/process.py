"""A child process that ends when the last process that needs it has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from attrs import define, field

from callboard.embedded import guard

__all__ = ["GuardedProcess"]


@define(eq=False)
class GuardedProcess:
    """Runs a command under `callboard.embedded.guard`; can be started again once it has ended.

    The lifeline is one pipe for the lifetime of this object: those who hold it keep later starts alive too.
    """

    _lifeline: tuple[int, int] = field(init=False, factory=os.pipe)
    _guard: subprocess.Popen[bytes] | None = field(init=False, default=None)

    @property
    def lifeline_fd(self) -> int:
        """The end of the pipe whose holders keep the command alive."""
        return self._lifeline[1]

    @property
    def alive(self) -> bool:
        return self._guard is not None and self.code is None

    @property
    def code(self) -> int | None:
        """Exit code of a command that has ended; 128 + n when signal n ended it."""
        return None if self._guard is None else self._guard.poll()

    def start(self, command: Sequence[str], *, log: IO[bytes], keep_open: int) -> None:
        """Start the command in a session of its own. It writes to `log`, and holds the descriptor `keep_open`
        for as long as it lives."""
        read_end = self._lifeline[0]
        self._guard = subprocess.Popen(  # noqa: S603 - the command is our own
            [sys.executable, "-I", "-S", guard.__file__, str(read_end), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(read_end, keep_open),
            start_new_session=True,
        )

    def join(self) -> None:
        """Block until the command has ended."""
        if self._guard is not None:
            self._guard.wait()

    def stop(self) -> None:
        """End the command gracefully; blocks for at most `guard.GRACE` seconds and a little."""
        if self._guard is not None:
            self._guard.terminate()
            self._guard.wait()

    def close(self) -> None:
        """Let go of the lifeline. This object cannot be used afterwards."""
        for end in self._lifeline:
            os.close(end)
