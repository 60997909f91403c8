"""`callboard dev`: a server, readable logs, and new code as soon as it is saved."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import callboard
from callboard.embedded import EmbeddedServer
from callboard.errors import NoServerError
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")

GREETER = """
from callboard import Actor, query


class Greeter(Actor):
    @query("greet.{name}")
    async def greet(self, name: str) -> str:
        return f"%s, {name}!"
"""


class Dev:
    """The running command."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.folder = folder
        self.process = process

    @property
    def text(self) -> str:
        return (self.folder / "log").read_text()

    async def says(self, text: str, times: int = 1) -> None:
        await eventually(lambda: self.text.count(text) >= times or self.process.returncode is not None, within=30)
        assert self.text.count(text) >= times, self.text

    def write(self, text: str) -> None:
        (self.folder / "greeter.py").write_text(text)

    @property
    def url(self) -> str:
        return self.text.split("NATS       ")[1].split()[0]


async def started(folder: Path, *words: str) -> Dev:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "NATS_"))}
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "callboard", "dev", "greeter", *words),
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return Dev(folder, process)


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[Dev]:
    """On a free port, in a folder with one actor."""
    (tmp_path / "greeter.py").write_text(GREETER % "Hello")
    dev = await started(tmp_path, "--port", "0")
    yield dev
    if dev.process.returncode is None:
        dev.process.terminate()  # killed, it would leave its service behind
        await asyncio.wait_for(dev.process.wait(), 30)


async def greeting(dev: Dev) -> str:
    async with callboard.connect(dev.url) as board:
        return await board.request("greet.Ada", returns=str)


async def test_saved_code_runs_and_the_server_stays(dev: Dev) -> None:
    await dev.says("worker ready")
    assert await greeting(dev) == "Hello, Ada!"
    async with callboard.connect(dev.url) as board:
        before = await board.publish("greet.kept", None)

    dev.write(GREETER % "Good morning")
    await dev.says("changed    greeter.py")
    await dev.says("worker ready", 2)
    assert await greeting(dev) == "Good morning, Ada!"
    async with callboard.connect(dev.url) as board:
        assert (await board.publish("greet.kept", None)).sequence > before.sequence


async def test_broken_code_is_told_and_mended_code_runs(dev: Dev) -> None:
    await dev.says("worker ready")
    dev.write("class Greeter(\n")
    await dev.says("SyntaxError")
    dev.write(GREETER % "Welcome back")
    await dev.says("worker ready", 2)
    assert await greeting(dev) == "Welcome back, Ada!"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_cleanly_with_all_that_it_started(dev: Dev, number: signal.Signals) -> None:
    await dev.says("worker ready")
    url = dev.url
    dev.process.send_signal(number)
    assert await asyncio.wait_for(dev.process.wait(), 30) == 0
    with pytest.raises(NoServerError):
        async with callboard.connect(url):
            pass
    assert "Traceback" not in dev.text


async def test_given_server_is_used(tmp_path: Path, nats_server: EmbeddedServer) -> None:
    (tmp_path / "greeter.py").write_text(GREETER % "Hello")
    dev = await started(tmp_path, "--nats", nats_server.url)
    await dev.says("worker ready")
    assert dev.url == nats_server.url
    dev.process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(dev.process.wait(), 30) == 0
    async with callboard.connect(nats_server.url) as board:
        await board.publish("greet.kept", None)


def test_what_cannot_be_watched_is_wrong_use(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "callboard", "dev", "greeter", "--watch", "nowhere"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--watch 'nowhere' is no folder" in done.stderr
