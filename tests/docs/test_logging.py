"""The lines on the page about logging are what the formatters write."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path

import pytest

from callboard.system.format import HumanFormatter, JsonLinesFormatter

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "logging.md").read_text()
(LINE,) = [line for line in PAGE.splitlines() if line.startswith("{")]


@pytest.fixture
def record() -> logging.LogRecord:
    """The one that the page shows as JSON."""
    fields = json.loads(LINE)
    moment = datetime.fromisoformat(fields.pop("timestamp"))
    made = logging.makeLogRecord(
        {
            "levelname": (level := fields.pop("level")),
            "levelno": logging.getLevelNamesMapping()[level],
            "name": fields.pop("logger"),
            "msg": fields.pop("message"),
            "process": fields.pop("pid"),
            **fields,
        }
    )
    made.created, made.msecs = moment.timestamp(), moment.microsecond / 1000
    return made


def test_json_line_of_the_page_is_what_is_written(record: logging.LogRecord) -> None:
    assert JsonLinesFormatter().format(record) == LINE


def test_line_for_people_on_the_page_is_the_same_record(record: logging.LogRecord) -> None:
    _, rest = HumanFormatter().format(record).split(" ", 1)
    assert f"\n12:00:01.250 {rest}\n" in PAGE
