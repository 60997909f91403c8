"""What the fault suite measured, as a table: `pytest tests/faults --faults-report docs/faults.md`."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import pytest
from attrs import frozen

from callboard.embedded.binary import find_binary
from callboard.errors import did_you_mean

__all__ = ["FAULTS", "Fault", "FaultReport", "Figures", "pytest_addoption", "pytest_configure"]

OPTION = "--faults-report"
NAME = "callboard-faults"
UNITS = {"_s": " s", "_ms": " ms", "_percent": " %", "_per_s": "/s"}
"""By the end of a value's name."""


@frozen
class Fault:
    """What is done to the system, and what it must show."""

    title: str
    must_show: str


FAULTS = (
    Fault(
        "server SIGKILL and restart, 10 times under load (R1, file storage)",
        "0 acknowledged messages lost; mailboxes resume within 2 s of the restart",
    ),
    Fault(
        "leader of an R3 cluster SIGKILLed",
        "0 lost, 0 stored twice; publishers get done or unknown; an idle mailbox delivers within election + 2 s",
    ),
    Fault(
        "leader of an R3 cluster frozen (SIGSTOP)",
        "0 lost, 0 stored twice; publishers get done or unknown; an idle mailbox delivers within election + 2 s",
    ),
    Fault(
        "leader of an R3 cluster stepped down",
        "0 lost, 0 stored twice; publishers get done or unknown; an idle mailbox delivers within election + 2 s",
    ),
    Fault(
        "output stream without a leader while handlers publish",
        "no attempt used, no dead letters; all done after recovery",
    ),
    Fault(
        "dead-letter stream missing or full",
        "nothing terminated; the mailbox pauses, says so, and goes on when it is back",
    ),
    Fault(
        "undecodable body, wrong type, hostile headers, too large",
        "dead letter with the original bytes, or refused before sending; the connection stays",
    ),
    Fault(
        "everything downstream fails for a minute",
        "the kill switch pauses; after recovery all are handled; no dead letters from the outage",
    ),
    Fault(
        "worker SIGKILLed from outside mid-message, 20 times",
        "every message handled, none convicted for a neighbour's death; taken over within ack_wait + 1 s",
    ),
    Fault(
        "message that kills its worker, among 64 in progress",
        "dead-lettered as worker_died after exactly 2 deaths; the other 63 are handled",
    ),
    Fault(
        "handler hangs",
        "cancelled at its timeout; the worker is replaced at the hard limit; one retry policy applies",
    ),
    Fault(
        "SIGTERM with 20 prefetched messages and 2 s handlers",
        "nothing stranded: a second process starts what was handed back in under 1 s; exit within the grace period",
    ),
    Fault(
        "100 messages of 0.3 s, ack_wait 2 s, concurrency 4, two workers",
        "exactly 100 runs",
    ),
    Fault(
        "30 deploys in a row over waiting messages; a minute without the dead-letter stream",
        "no attempt used up, nothing undeliverable afterwards",
    ),
    Fault(
        "2,000 messages parked in long retries",
        "the healthy ones behind them are handled at full speed",
    ),
    Fault(
        "poison message among 1,000",
        "dead-lettered once after the declared attempts; the other 999 unaffected",
    ),
    Fault(
        "consumer deleted",
        "healed in 2 s with attempts kept",
    ),
    Fault(
        "consumer's configuration changed by an operator",
        "respected or reported, as the mode says",
    ),
    Fault(
        "stream deleted",
        "alarm, not ready, nothing recreated",
    ),
    Fault(
        "replay of an event's dead letter",
        "runs in the actor that failed and in no other",
    ),
    Fault(
        "publish or subscribe not permitted for the account",
        "a clear error at start or at the call, not a timeout",
    ),
    Fault(
        "supervisor, its worker and the server SIGKILLed together",
        "every acknowledged event has its effect",
    ),
    Fault(
        "relay of an outbox SIGKILLed, 20 times",
        "each row published once, in order",
    ),
    Fault(
        "writer of an outbox SIGKILLed, 10 times",
        "each committed order published once, and no other",
    ),
)
_BY_TITLE = {fault.title: fault for fault in FAULTS}


class Figures(Protocol):
    """Records what a test measured under a fault.

    `fault` is the title of one of `FAULTS`. Values whose name ends in `_s`, `_ms`, `_per_s` or `_percent` get the unit.
    May be called several times; each is a row.
    """

    def __call__(self, fault: str, **values: object) -> None: ...


@frozen
class _Row:
    fault: Fault
    test: str
    """Its pytest node."""
    figures: str


class FaultReport:
    """Collects the rows of one session; with a `target` they are printed and written there at its end."""

    def __init__(self, target: Path | None) -> None:
        self._target = target
        self._rows: list[_Row] = []
        self._failed: set[str] = set()

    def record(self, item: pytest.Item, fault: str, **values: object) -> None:
        """A row for a test. Raises `ValueError` for a fault that is not listed."""
        if fault not in _BY_TITLE:
            raise ValueError(f"no fault {fault!r} in tests/faults/report.py{did_you_mean(fault, _BY_TITLE)}")
        row = _Row(_BY_TITLE[fault], item.nodeid, _text(values))
        self._rows.append(row)
        item.add_report_section("call", "figures", f"{fault}: {row.figures}")

    # Hooks of pytest

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what failed, in whichever phase."""
        if report.failed and "faults/" in report.nodeid:
            self._failed.add(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print and write the report, where one was asked for."""
        if self._target is None:
            return
        terminalreporter.section("faults")
        for title, _, figures, outcome in self._table():
            terminalreporter.write_line(f"{outcome:8}{title}")
            if figures:
                terminalreporter.write_line(f"{'':8}{figures}")
        self._target.write_text(self.markdown())
        terminalreporter.write_line(f"written to {self._target}")

    def markdown(self) -> str:
        """The report as a page."""
        lines = [
            "# Faults",
            "",
            "What is done to a running system, what it must show, and what it showed. Written by `make faults`.",
            "",
            f"Measured on {datetime.now(UTC):%Y-%m-%d} with {_versions()}.",
            "",
            "| what was done | what it must show | measured | result |",
            "|---|---|---|---|",
            *(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |" for cells in self._table()),
        ]
        return "\n".join(lines) + "\n"

    def _table(self) -> Iterator[tuple[str, str, str, str]]:
        """Title, what it must show, figures, result: in the order of `FAULTS`, then failures without figures."""
        rows: dict[Fault, list[_Row]] = defaultdict(list)
        for row in self._rows:
            rows[row.fault].append(row)
        for fault in FAULTS:
            for row in rows[fault]:
                yield fault.title, fault.must_show, row.figures, "FAILED" if row.test in self._failed else "pass"
            if not rows[fault]:
                yield fault.title, fault.must_show, "", "not run"
        for test in sorted(self._failed - {row.test for row in self._rows}):
            yield test.rpartition("/")[2], "", "failed before it had figures", "FAILED"


def _text(values: Mapping[str, object]) -> str:
    return "; ".join(_value(name, value) for name, value in values.items())


def _value(name: str, value: object) -> str:
    suffix = next((suffix for suffix in sorted(UNITS, key=len, reverse=True) if name.endswith(suffix)), "")
    words = name.removesuffix(suffix).replace("_", " ")
    number = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    return f"{words} {number}{UNITS.get(suffix, '')}"


def _versions() -> str:
    server = subprocess.run([find_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return f"nats-server {server.split()[-1].lstrip('v')}, nats-py {version('nats-py')}, {python}, {machine}"


# Hooks that tests/conftest.py passes on: pytest reads options before it reads tests/faults


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that asks for the report."""
    parser.addoption(
        OPTION, type=Path, metavar="FILE", help="write what the fault suite measured to FILE, and print it"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect rows in every session, so that the tests need not ask."""
    config.pluginmanager.register(FaultReport(config.getoption(OPTION)), NAME)
