"""The guide for authors of transports works as it stands, for somebody who has pytest and Callboard alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import attrs

from callboard.testing import Features
from tests.docs.page import blocks_of

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "writing-a-transport.md"


def run_elsewhere(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=55, check=False
    )


def test_example_passes_the_suites_and_says_what_it_does_not_promise(tmp_path: Path) -> None:
    [module] = [block for block in blocks_of(GUIDE) if block.file]
    [shown] = [block.text.strip() for block in blocks_of(GUIDE) if block.language == "console"]
    (tmp_path / str(module.file)).write_text(module.text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")

    result = run_elsewhere(tmp_path, "-m", "pytest", "-q", "-rs", "--timeout=30", "-p", "no:cacheprovider")

    assert result.returncode == 0, result.stdout
    reason = shown.removeprefix("SKIPPED [1] ")
    assert [line for line in result.stdout.splitlines() if line.startswith("SKIPPED [1]") and line.endswith(reason)]


def test_guide_names_every_feature() -> None:
    text = GUIDE.read_text()
    assert [field.name for field in attrs.fields(Features) if f"`{field.name}`" not in text] == []


def test_suites_without_pytest_say_what_to_install_and_the_test_kit_does_without(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["pytest"] = None
import callboard.testing
try:
    import callboard.testing.conformance
except ImportError as error:
    print(error)
"""
    result = run_elsewhere(tmp_path, "-c", program)
    assert result.stdout.strip() == "the conformance suite needs the extra 'testing': pip install 'callboard[testing]'"
