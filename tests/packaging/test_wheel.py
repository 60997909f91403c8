"""The wheel: what is in it, and that it works by itself. Its dependencies are those of the tests' environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HELLO = """
from callboard import Actor, query


class Hello(Actor):
    @query("hello.{name}")
    async def hello(self, name: str) -> str:
        return f"Hello, {name}!"
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            str(ROOT),
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "-w",
            str(folder),
        ],
        check=True,
        capture_output=True,
        timeout=50,
    )
    [built] = folder.glob("*.whl")
    return built


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"callboard"}
    assert {"callboard/py.typed", "callboard/asyncapi/page.css"} <= set(names)
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name]
    modules = {path.relative_to(ROOT / "runtime").as_posix() for path in (ROOT / "runtime/callboard").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


@pytest.mark.usefixtures("nats_binary")
def test_first_actor_answers_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    installed, project = tmp_path / "installed", tmp_path / "project"
    zipfile.ZipFile(wheel).extractall(installed)
    project.mkdir()
    (project / "hello.py").write_text(HELLO)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    where = subprocess.run(
        [sys.executable, "-c", "import callboard; print(callboard.__file__)"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(installed))

    with subprocess.Popen(
        [sys.executable, "-m", "callboard", "dev", "hello", "--port", "0"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout is not None
        try:
            said: list[str] = []
            for line in running.stdout:
                said.append(line)
                if "worker ready" in line:
                    break
            url = "".join(said).split("NATS       ")[1].split()[0]
            answer = subprocess.run(
                [sys.executable, "-m", "callboard", "request", "hello.Ada", "--nats", url],
                cwd=project,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
        finally:
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=30)
    assert (answer.returncode, answer.stdout) == (0, '"Hello, Ada!"\n'), answer.stderr
    assert running.returncode == 0
