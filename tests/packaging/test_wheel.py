"""The wheel: what is in it, and that it works by itself.

Its dependencies are those of the tests' environment; `make versions` installs it in empty ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging.hello import ROOT, build_wheel, say_hello


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"callboard"}
    assert {"callboard/py.typed", "callboard/asyncapi/page.css"} <= set(names)
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name]
    modules = {path.relative_to(ROOT / "runtime").as_posix() for path in (ROOT / "runtime/callboard").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


@pytest.mark.usefixtures("nats_binary")
def test_first_actor_answers_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    where = subprocess.run(
        [sys.executable, "-c", "import callboard; print(callboard.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(installed))
    assert say_hello(sys.executable, tmp_path / "project", environment) == '"Hello, Ada!"\n'
