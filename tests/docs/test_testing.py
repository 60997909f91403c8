"""The guide to testing works as it stands, in memory and on a real server, for somebody who has only that page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.page import blocks_of

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide" / "testing.md"
REAL = "counted_and_paid or refused or forgets"
"""Those that do not wait for minutes."""


@pytest.mark.usefixtures("nats_binary")
@pytest.mark.parametrize(("words", "passed"), [((), 7), (("--callboard-server=real", "-k", REAL), 3)])
def test_the_guides_tests_pass(words: tuple[str, ...], passed: int, tmp_path: Path) -> None:
    for block in blocks_of(GUIDE):
        if block.file is not None and "/" not in block.file:
            (tmp_path / block.file).write_text(block.text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"{passed} passed" in done.stdout


def test_the_applications_tests_stand_on_the_page_as_they_are() -> None:
    (block,) = [block for block in blocks_of(GUIDE) if block.file is not None and "/" in block.file]
    path = str(block.file)
    assert block.text == f"# {path}\n{(ROOT / path).read_text()}"
