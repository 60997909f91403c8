"""The README's code is run as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from callboard.embedded import EmbeddedServer

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A folder with the README's first actor in it."""
    (tmp_path / "orders.py").write_text(blocks("python")[0])
    return tmp_path


def callboard(folder: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NATS_URL": url}
    command = [sys.executable, "-m", "callboard", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False)


async def test_the_first_actor_answers_as_shown(orders: Path, nats_server: EmbeddedServer) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "callboard", "run", "orders"],
        cwd=orders,
        env={**os.environ, "NATS_URL": nats_server.url},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stderr is not None
        for line in running.stderr:
            if "worker ready" in line:
                break
        content = '{"item": "soup", "count": 2}'
        answer = callboard(orders, nats_server.url, "request", "orders.place", content)
        assert json.loads(answer.stdout) == {"status": "placed", "item": "soup"}
        assert answer.stdout.strip() in README.read_text()

        refused = callboard(orders, nats_server.url, "request", "orders.place", '{"item": "soup", "count": 0}')
        assert refused.returncode == 1
        assert "order at least one" in refused.stderr

        program = blocks("python")[1] + "\nimport asyncio\nasyncio.run(place())\n"
        environment = {**os.environ, "NATS_URL": nats_server.url}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=30)
    finally:
        running.terminate()
        running.communicate(timeout=30)
    assert running.returncode == 0


def test_the_readme_stays_short() -> None:
    assert len(README.read_text().splitlines()) <= 150
