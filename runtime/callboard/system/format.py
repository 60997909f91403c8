"""Two formats of log lines: for people on a terminal, and JSON for everything else."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from pythonjsonlogger.json import JsonFormatter

__all__ = ["HumanFormatter", "JsonLinesFormatter"]

_SHORT_TRACE = 8
"""Digits of a trace id that are enough to find its other lines."""
_DIM, _PLAIN = "\033[2m", "\033[0m"
_COLOURS = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m", logging.CRITICAL: "\033[31m"}


class HumanFormatter(logging.Formatter):
    """Local time, level, logger, message, and in brackets the actor and the first digits of the trace id:

    `12:00:01.250 WARNING handler      message 7 failed  [Orders 0af76519]`

    With `colours`, warnings and errors stand out and what is the same on every line does not.
    """

    default_time_format = "%H:%M:%S"
    default_msec_format = "%s.%03d"

    def __init__(self, *, colours: bool = False) -> None:
        super().__init__()
        self._colours = colours

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line, without a traceback."""
        moment = self._coloured(_DIM, self.formatTime(record))
        level = self._coloured(_COLOURS.get(record.levelno, ""), f"{record.levelname:7}")
        logger = self._coloured(_DIM, f"{record.name.removeprefix('callboard.'):11}")
        return f"{moment} {level} {logger} {record.message}{self._coloured(_DIM, _context(record))}"

    def _coloured(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours and colour and text else text


def _context(record: logging.LogRecord) -> str:
    actor, trace_id, address = (str(getattr(record, name, "")) for name in ("actor", "trace_id", "trace_url"))
    known = " ".join(part for part in (actor, trace_id[:_SHORT_TRACE]) if part)
    return (f"  [{known}]" if known else "") + (f"  {address}" if address else "")


class JsonLinesFormatter(JsonFormatter):
    """One JSON object a line, in ASCII.

    `timestamp` (RFC 3339, UTC), `level`, `logger`, `message`, `pid`, what `ContextFilter` found out, `exception` as
    text, and whatever else was given as `extra`. What is empty is left out.
    """

    def __init__(self) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - of arguments that are not given
            ["asctime", "levelname", "name", "message", "process"],
            rename_fields={
                "asctime": "timestamp",
                "levelname": "level",
                "name": "logger",
                "process": "pid",
                "exc_info": "exception",
                "stack_info": "stack",
            },
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        """RFC 3339 in UTC, to the millisecond."""
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def process_log_record(self, log_data: dict[str, object]) -> dict[str, object]:
        """Leave out what is empty."""
        return {name: value for name, value in log_data.items() if value is not None and value != ""}
