"""`make mutants`: every kept defect is made, one at a time, in a copy of the package, and its check has to fail.

`make mutants ARGS="C15 S04"` makes those of the named checks only.
"""

# ruff: noqa: T201 - a program

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import frozen

from tests.docs.check import proofs
from tests.mutants.mutant import ROOT, Mutant, copy_package, mutants

__all__ = ["main"]

PROCESSES = 2
TEST_LIMIT = 30
"""Seconds for one test: a defect may well make it wait for ever. Longer than the tests wait, who end cleanly."""
LIMIT = 120.0
"""Seconds for all tests of one mutant."""

_FAILED = re.compile(r"^(?:FAILED|ERROR) \S*?::(?:\w+::)?(\w+)", re.MULTILINE)


@frozen
class Outcome:
    """What the tests said of one copy."""

    failed: frozenset[str]
    """Names of tests."""
    code: int
    seconds: float
    output: str


def main(words: list[str]) -> int:
    """All mutants, or those of the named checks. The exit code is 1 when one survives or cannot be made."""
    chosen = [mutant for mutant in mutants() if not words or mutant.check in words]
    begun = time.monotonic()
    with ThreadPoolExecutor(PROCESSES) as pool:
        sound = pool.submit(trial_without_defect, chosen)
        bad = [
            mutant for mutant, outcome in zip(chosen, pool.map(trial, chosen), strict=True) if not told(mutant, outcome)
        ]
    if sound.result().code != 0:
        print(f"the same tests fail without any defect:\n{sound.result().output}")
        return 1
    print(f"{len(chosen) - len(bad)} of {len(chosen)} mutants noticed in {time.monotonic() - begun:.0f} s")
    return 1 if bad or not chosen else 0


def tests_of(check: str) -> set[str]:
    """Names of the tests that prove a check."""
    return {proof.test for proof in proofs() if proof.check == check}


def told(mutant: Mutant, outcome: Outcome) -> bool:
    """Say what became of a mutant; whether a test of its check noticed it."""
    noticed = sorted(outcome.failed & tests_of(mutant.check))
    if noticed:
        print(f"{mutant.check} {mutant.file}: noticed by {noticed[0]} ({outcome.seconds:.1f} s)", flush=True)
    else:
        print(f"SURVIVED {mutant}\n{outcome.output}", flush=True)
    return bool(noticed)


def trial(mutant: Mutant) -> Outcome:
    """Run the tests of a mutant's check on a copy of the package with the defect."""
    with tempfile.TemporaryDirectory(prefix="callboard-mutant-") as folder:
        try:
            mutant.apply(copy_package(Path(folder)))
        except ValueError:
            return Outcome(frozenset(), 1, 0.0, f"the line {mutant.line!r} is not there exactly once")
        return run_tests(Path(folder), mutant.tests, tests_of(mutant.check), "-x")


def trial_without_defect(chosen: list[Mutant]) -> Outcome:
    """The same tests on a copy that is as the package is: a mutant proves nothing where they fail anyway."""
    with tempfile.TemporaryDirectory(prefix="callboard-mutant-") as folder:
        copy_package(Path(folder))
        names = {name for mutant in chosen for name in tests_of(mutant.check)}
        return run_tests(Path(folder), {each for mutant in chosen for each in mutant.tests}, names)


def run_tests(folder: Path, tests: Iterable[str], names: Iterable[str], *options: str) -> Outcome:
    """Run the named tests with the copy of the package in `folder`."""
    command = [
        sys.executable,
        "-c",
        _PROGRAM,
        str(folder),
        "-q",
        "-rfE",
        "--tb=line",
        "-p",
        "no:cacheprovider",
        *options,
    ]
    command += [f"--timeout={TEST_LIMIT}", "-k", " or ".join(sorted(names)), *sorted(tests)]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    said = folder / "output"
    begun = time.monotonic()
    with said.open("w") as out:
        try:
            code = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, timeout=LIMIT, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = 1
    output = said.read_text()
    return Outcome(frozenset(_FAILED.findall(output)), code, time.monotonic() - begun, output[-3000:])


_PROGRAM = """
import sys
import callboard
import pytest
folder, *words = sys.argv[1:]
assert callboard.__file__.startswith(folder), f"{callboard.__file__} is not the copy in {folder}"
sys.exit(pytest.main(words))
"""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
