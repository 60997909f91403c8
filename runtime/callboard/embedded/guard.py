"""A program that runs another one for as long as somebody needs it: `guard.py <lifeline> <command>...`.

`lifeline` is the number of an inherited descriptor, the read end of a pipe. When no process holds the write
end any more, or when the guard gets SIGTERM, the command gets SIGTERM and, `GRACE` later, SIGKILL. The guard
exits when the command has: with its code, or with 128 + n when signal n ended it.

A pipe, because the system closes it however its holders die. The guard is run as a file by an isolated
interpreter and imports only the standard library: it starts in 20 ms, and neither the working directory nor
PYTHON variables change what it does.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from typing import NoReturn

__all__ = ["GRACE", "main"]

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""

_PR_SET_PDEATHSIG = 1


def main(lifeline: int, command: list[str]) -> int:
    os.set_inheritable(lifeline, False)  # noqa: FBT003
    told = _told_to_stop()
    ended, pid = _start(command)
    select.select([lifeline, told, ended], [], [])
    _stop(pid, ended)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def _told_to_stop() -> int:
    """A descriptor that is readable once SIGTERM has come, so that `select` sees it wherever it comes."""
    told, teller = os.pipe()
    os.set_blocking(teller, False)
    signal.set_wakeup_fd(teller)
    signal.signal(signal.SIGTERM, _wake)
    return told


def _wake(_number: int, _frame: object) -> None:
    """Nothing to do: Python writes to the wakeup descriptor, and without a handler SIGTERM would kill."""


def _start(command: list[str]) -> tuple[int, int]:
    """Start the command; returns a descriptor that is readable once it has ended, and its pid.

    The descriptor is a pipe's read end whose write end only the command holds. SIGCHLD would come for a
    paused command too.
    """
    ended, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.set_inheritable(held, True)  # noqa: FBT003
        _become(command)
    os.close(held)
    return ended, pid


def _become(command: list[str]) -> NoReturn:
    if sys.platform == "linux":
        # When the guard itself is killed. Other systems have nothing like it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        os.execv(command[0], command)  # noqa: S606 - the command is our own
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


def _stop(pid: int, ended: int) -> None:
    """End the command, which may have ended by itself: until `waitpid` its pid is nobody else's."""
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)  # a paused command sees no other signal
    if not select.select([ended], [], [], GRACE)[0]:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
