"""Log lines, for people or as JSON."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from callboard.config import LogFormat
from callboard.system.format import HumanFormatter, JsonLinesFormatter
from callboard.system.record import ContextFilter

__all__ = ["configure_logging"]


def configure_logging(level: str, form: LogFormat = LogFormat.AUTO) -> None:
    """One line a record on standard error, with what is known of the message that it is about.

    `AUTO` is for people where standard error is a terminal, else JSON; `NO_COLOR` turns colours off. An application
    that has configured logging itself keeps its handlers. Warnings of Python become records too.
    """
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_handler(sys.stderr, form))
        logging.captureWarnings(capture=True)
    root.setLevel(level.upper())
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _handler(stream: TextIO, form: LogFormat) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.addFilter(ContextFilter())
    handler.setFormatter(_formatter(stream, form))
    return handler


def _formatter(stream: TextIO, form: LogFormat) -> logging.Formatter:
    terminal = stream.isatty()
    if form is LogFormat.HUMAN or (form is LogFormat.AUTO and terminal):
        return HumanFormatter(colours=terminal and not os.environ.get("NO_COLOR"))
    return JsonLinesFormatter()
