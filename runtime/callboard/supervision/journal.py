"""One log line for each change of state, on the logger `callboard.supervision`."""

from __future__ import annotations

import logging

from callboard.supervision.cause import exit_of
from callboard.supervision.decision import Exit, RestartChildren

__all__ = ["Journal"]

_log = logging.getLogger("callboard.supervision")


class Journal:
    """Writes for the supervisor of this name. Crashes come with their traceback, outages without."""

    def __init__(self, supervisor: str) -> None:
        self._supervisor = supervisor

    def running(self, child: str, summary: str) -> None:
        _log.info("%s: %s is running%s", self._supervisor, child, f": {summary}" if summary else "")

    def stopped(self, child: str) -> None:
        _log.info("%s: %s is stopped", self._supervisor, child)

    def left(self, child: str, error: Exception | None) -> None:
        self._ended(logging.INFO if error is None else logging.WARNING, child, error, "it stays stopped")

    def restarting(self, child: str, error: Exception | None, action: RestartChildren) -> None:
        names = ", ".join(action.start)
        if action.parked:
            what = f"too many restarts: parked {names}, next try in {action.delay:.1f} s"
            self._ended(logging.ERROR, child, error, what)
        else:
            self._ended(logging.WARNING, child, error, f"restarting {names} in {action.delay:.1f} s")

    def escalated(self, child: str, error: Exception | None) -> None:
        self._ended(logging.ERROR, child, error, "too many restarts: escalated")

    def unavailable(self, child: str, error: Exception, delay: float) -> None:
        cause = type(error).__name__
        _log.warning("%s: %s cannot start (%s); next try in %.1f s", self._supervisor, child, cause, delay)

    def _ended(self, level: int, child: str, error: Exception | None, what: str) -> None:
        how = "normally" if error is None else type(error).__name__
        crash = error if exit_of(error) is Exit.CRASH else None
        _log.log(level, "%s: %s ended (%s); %s", self._supervisor, child, how, what, exc_info=crash)
