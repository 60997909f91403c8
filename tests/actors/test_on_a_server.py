"""The tests of the reference application that run in memory run on a real server too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("nats_binary")
@pytest.mark.timeout(120)
def test_tests_of_the_application_pass_on_a_real_server() -> None:
    words = ("--callboard-server=real", "-k", "not lost and not twice", "-p", "no:cacheprovider")  # those wait for 35 s
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "tests/actors/test_rebooking.py",
            "tests/actors/test_users_service.py",
            *words,
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "16 passed, 2 deselected" in done.stdout
