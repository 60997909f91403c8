"""A table tells what its process runs, also when that process is dead."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from math import inf

import pytest

from callboard.system.orphan import Fate, Orphan, explained, orphans_of
from callboard.system.table import ROWS, TOKEN_SIZE, RunningTable


@pytest.fixture
def table() -> Iterator[RunningTable]:
    table, fd = RunningTable.create()
    os.close(fd)
    yield table
    table.close()


def begin(table: RunningTable, token: str, *, hard_deadline: float = inf, alone: bool = False) -> int:
    return table.begin(token, hard_deadline=hard_deadline, alone=alone)


def tokens(table: RunningTable) -> set[str]:
    return {row.token for row in table.rows()}


def fates(orphans: list[Orphan]) -> dict[str, Fate]:
    return {orphan.token: orphan.fate for orphan in orphans}


def test_what_begins_stands_in_it_and_what_ends_does_not(table: RunningTable) -> None:
    first, second = begin(table, "a"), begin(table, "b", hard_deadline=12.5, alone=True)
    assert tokens(table) == {"a", "b"}

    table.end(first)

    (row,) = table.rows()
    assert (row.token, row.hard_deadline, row.alone) == ("b", 12.5, True)
    assert time.monotonic() - 5 < row.begun <= time.monotonic()
    table.end(second)
    assert table.rows() == []


def test_row_is_used_again_without_a_trace_of_the_former(table: RunningTable) -> None:
    table.end(begin(table, "a-long-token", alone=True))
    begin(table, "b")

    (row,) = table.rows()

    assert (row.token, row.alone) == ("b", False)


def test_token_that_is_too_long_keeps_its_limit_but_leads_nowhere(table: RunningTable) -> None:
    begin(table, "x" * (TOKEN_SIZE + 1), hard_deadline=1.0)
    begin(table, "y" * TOKEN_SIZE)

    assert tokens(table) == {"", "y" * TOKEN_SIZE}
    assert len(table.overdue(2.0)) == 1
    assert list(fates(orphans_of(table, 2.0, over_limit=False, drained=False))) == ["y" * TOKEN_SIZE]


def test_message_that_is_too_many_is_not_noted_and_said_once(
    table: RunningTable, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [begin(table, f"t{number}") for number in range(ROWS)]
    with caplog.at_level(logging.WARNING, "callboard.worker"):
        beyond = [begin(table, "beyond"), begin(table, "beyond")]

    assert beyond == [-1, -1]
    assert len(caplog.records) == 1
    assert len(table.rows()) == ROWS
    table.end(-1)
    table.end(rows[7])
    assert begin(table, "again") == rows[7]
    assert "again" in tokens(table)


def test_only_what_runs_past_its_hard_deadline_is_overdue(table: RunningTable) -> None:
    begin(table, "soon", hard_deadline=10.0)
    begin(table, "later", hard_deadline=20.0)
    begin(table, "never")

    assert table.overdue(9.9) == []
    assert [row.token for row in table.overdue(10.0)] == ["soon"]
    assert len(table.overdue(1e12)) == 2


WORKER = """
import sys
from math import inf
from callboard.system.table import RunningTable

table = RunningTable(int(sys.argv[1]))
table.pulse()
table.begin("shared", hard_deadline=inf, alone=False)
table.begin("alone", hard_deadline=inf, alone=True)
print("noted", flush=True)
while True:  # die in the middle of a write
    table.end(table.begin("quick", hard_deadline=inf, alone=False))
"""


def test_table_outlives_a_process_that_is_killed_in_the_middle_of_a_write() -> None:
    table, fd = RunningTable.create()
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(fd)], pass_fds=[fd], stdout=subprocess.PIPE, text=True
    )
    os.close(fd)
    assert process.stdout is not None
    with process, process.stdout as out:
        assert out.readline() == "noted\n"
        assert {"shared", "alone"} <= tokens(table) <= {"shared", "alone", "quick"}
        process.send_signal(signal.SIGKILL)

    left = fates(orphans_of(table, time.monotonic(), over_limit=False, drained=False))

    assert left.pop("quick", Fate.SUSPECT) is Fate.SUSPECT
    assert left == {"shared": Fate.SUSPECT, "alone": Fate.CONVICTED}
    assert 0 < time.monotonic() - table.last_pulse < 60
    table.close()


def test_death_at_a_hard_limit_blames_only_what_hung(table: RunningTable) -> None:
    begin(table, "hung", hard_deadline=10.0)
    begin(table, "in time", hard_deadline=20.0, alone=True)

    orphans = orphans_of(table, 11.0, over_limit=True, drained=False)

    assert fates(orphans) == {"hung": Fate.HUNG, "in time": Fate.INNOCENT}
    assert explained(orphans)


def test_what_a_drained_worker_leaves_is_innocent(table: RunningTable) -> None:
    begin(table, "ignores its cancellation", alone=True)

    orphans = orphans_of(table, 11.0, over_limit=False, drained=True)

    assert fates(orphans) == {"ignores its cancellation": Fate.INNOCENT}
    assert not explained(orphans)


def test_what_was_held_back_is_innocent(table: RunningTable) -> None:
    begin(table, "runs alone", alone=True)
    table.hold("waits its turn")
    table.end(table.hold("has had it"))

    orphans = orphans_of(table, 11.0, over_limit=False, drained=False)

    assert fates(orphans) == {"runs alone": Fate.CONVICTED, "waits its turn": Fate.INNOCENT}


def test_only_a_death_alone_explains_itself(table: RunningTable) -> None:
    begin(table, "one")
    begin(table, "other")
    assert not explained(orphans_of(table, 1.0, over_limit=False, drained=False))

    begin(table, "lone", alone=True)

    assert explained(orphans_of(table, 1.0, over_limit=False, drained=False))
