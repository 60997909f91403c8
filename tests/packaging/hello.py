"""Builds the wheel, and asks an actor that runs from it, as who has just installed it would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["ROOT", "build_wheel", "say_hello"]

ROOT = Path(__file__).parents[2]

HELLO = """
from callboard import Actor, query

class Hello(Actor):
    @query("hello.{name}")
    async def hello(self, name: str) -> str:
        return f"Hello, {name}!"
"""


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout, built without a network."""
    words = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(folder))
    subprocess.run([sys.executable, "-m", "pip", "wheel", str(ROOT), *words], check=True, timeout=50)
    [built] = folder.glob("*.whl")
    return built


def say_hello(python: Path | str, project: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Run `callboard dev` on an actor of five lines in a new folder, and ask it. What it answers, in JSON."""
    project.mkdir()
    (project / "hello.py").write_text(HELLO)
    command = (str(python), "-m", "callboard")
    with subprocess.Popen(
        [*command, "dev", "hello", "--port", "0"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout is not None
        said = ""
        try:
            for line in running.stdout:
                said += line
                if "worker ready" in line:
                    break
            assert "NATS       " in said, said
            url = said.split("NATS       ")[1].split()[0]
            answer = subprocess.run(
                [*command, "request", "hello.Ada", "--nats", url],
                cwd=project,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=30,
            )
        finally:
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=30)
    assert running.returncode == 0
    return answer.stdout
