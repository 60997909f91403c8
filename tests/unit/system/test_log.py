"""What log lines look like."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr
from datetime import UTC, datetime
from typing import Any

import pytest

from callboard.config import LogFormat
from callboard.system.log import configure_logging

TRACE = "0af7651916cd43dd8448eb211c80319c"
MOMENT = datetime(2026, 3, 1, 12, 0, 1, 250_000, UTC).timestamp()


class Terminal(io.StringIO):
    """Standard error that somebody looks at."""

    def isatty(self) -> bool:
        return True


@contextmanager
def logging_to(stream: io.StringIO, form: LogFormat = LogFormat.AUTO, *handlers: logging.Handler) -> Generator[None]:
    """Logging as a new process configures it, whose standard error is `stream`; as it was, afterwards."""
    root = logging.getLogger()
    before = [(logger, logger.level) for logger in (root, logging.getLogger("nats"), logging.getLogger("asyncio"))]
    others, root.handlers = root.handlers, [*handlers]
    try:
        with redirect_stderr(stream):
            configure_logging("info", form)
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers = others
        for logger, level in before:
            logger.setLevel(level)


@pytest.fixture
def file() -> io.StringIO:
    """Standard error that goes to a file."""
    return io.StringIO()


def write(name: str, level: int, text: str, exc_info: Any = None, **extra: Any) -> None:
    """A record as if it was written at a known moment."""
    logger = logging.getLogger(name)
    record = logger.makeRecord(name, level, __file__, 1, text, (), exc_info, extra=extra)
    record.created, record.msecs = MOMENT, 250.0
    logger.handle(record)


def test_json_line_has_time_level_logger_message_and_the_fields_that_are_known(file: io.StringIO) -> None:
    with logging_to(file, LogFormat.JSON):
        write("callboard.handler", logging.WARNING, "message 7 failed", actor="Orders", attempt=2, dish="soup")
    line = json.loads(file.getvalue())
    assert isinstance(line.pop("pid"), int)
    assert line == {
        "timestamp": "2026-03-01T12:00:01.250Z",
        "level": "WARNING",
        "logger": "callboard.handler",
        "message": "message 7 failed",
        "actor": "Orders",
        "attempt": 2,
        "dish": "soup",
    }


def test_exception_is_text_in_the_same_json_line(file: io.StringIO) -> None:
    with logging_to(file, LogFormat.JSON):
        try:
            int("two\nlines")
        except ValueError:
            write("orders", logging.ERROR, "failed", sys.exc_info())
    (text,) = file.getvalue().splitlines()
    exception = json.loads(text)["exception"]
    assert exception.startswith("Traceback")
    assert "ValueError" in exception.splitlines()[-1]


@pytest.mark.parametrize("value", ["\udc80", "\u2028", "a\nb", float("nan"), object(), {1: b"x"}])
def test_nothing_that_is_logged_breaks_a_json_line(file: io.StringIO, value: object) -> None:
    with logging_to(file, LogFormat.JSON):
        write("orders", logging.INFO, "seen", value=value)
        write("orders", logging.INFO, str(value))
    assert [json.loads(line)["level"] for line in file.getvalue().splitlines()] == ["INFO", "INFO"]


def test_line_for_people_is_short_and_ends_with_actor_and_first_digits_of_the_trace(file: io.StringIO) -> None:
    with logging_to(file, LogFormat.HUMAN):
        write("callboard.handler", logging.WARNING, "message 7 failed", actor="Orders", trace_id=TRACE)
        write("callboard.parent", logging.INFO, "stopping")
    moment = datetime.fromtimestamp(MOMENT).strftime("%H:%M:%S.250")  # noqa: DTZ006 - local time is for people
    assert file.getvalue().splitlines() == [
        f"{moment} WARNING handler     message 7 failed  [Orders 0af76519]",
        f"{moment} INFO    parent      stopping",
    ]


def test_address_of_the_trace_ends_the_line_for_people(file: io.StringIO) -> None:
    with logging_to(file, LogFormat.HUMAN):
        write("callboard.handler", logging.WARNING, "failed", trace_id=TRACE, trace_url=f"http://jaeger/trace/{TRACE}")
    assert file.getvalue().endswith(f"failed  [0af76519]  http://jaeger/trace/{TRACE}\n")


@pytest.mark.parametrize(("variable", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_alone(monkeypatch: pytest.MonkeyPatch, variable: str, *, coloured: bool) -> None:
    monkeypatch.setenv("NO_COLOR", variable)
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        with logging_to(stream, LogFormat.HUMAN):
            write("callboard.parent", logging.ERROR, "the server ended")
    assert ("\033[31mERROR  \033[0m" in terminal.getvalue()) is coloured
    assert "\033" not in file.getvalue()


def test_auto_is_for_people_on_a_terminal() -> None:
    terminal = Terminal()
    with logging_to(terminal):
        write("callboard.parent", logging.INFO, "stopping")
    assert "stopping" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def test_auto_is_json_elsewhere(file: io.StringIO) -> None:
    with logging_to(file):
        write("callboard.parent", logging.INFO, "stopping")
    assert json.loads(file.getvalue())["message"] == "stopping"


def test_application_that_has_configured_logging_keeps_its_handlers(file: io.StringIO) -> None:
    own = logging.NullHandler()
    with logging_to(file, LogFormat.JSON, own):
        assert logging.getLogger().handlers == [own]
