"""The first page, walked through as by its reader: every file is saved, every command typed, every output compared.

Different from the page are the ports, so that tests can run beside each other, and the installation, which is that of
the tests (`tests/packaging` tries the wheel).
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, field

from callboard.testing.span import tree_of
from tests.docs.page import Block, blocks_of
from tests.jaeger.server import JaegerServer
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")

PAGE = Path(__file__).parents[2] / "docs" / "first-actor.md"
INSTALLATION = ("mkdir ", "cd ", "python3 -m venv ", ". .venv/bin/activate", "pip install ", "docker run ")
CHANGING = {r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d": "<moment>", r"in \d+\.\d+s": "in <seconds>", r"[0-9a-f]{32}": "<trace>"}


@define
class Reader:
    """Somebody at two terminals in one folder."""

    folder: Path
    environment: dict[str, str]
    addresses: dict[str, str]
    """What the page says -> where it is here."""
    first: subprocess.Popen[bytes] | None = None
    """What runs in the first terminal."""
    traces: list[str] = field(factory=list[str])

    @property
    def shown(self) -> str:
        """In the first terminal."""
        return (self.folder.parent / "shown").read_text()

    async def read(self, block: Block) -> None:
        if named := re.match(r"# ([\w.]+)\n", block.text):
            await self.save(named[1], block.text)
        elif block.language == "console":
            for typed in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                command, _, output = typed.partition("\n")
                self.type(command, output)
        elif block.language == "sh":
            for line in block.text.splitlines():
                await self.type_in_the_first(line)

    async def save(self, file: str, text: str) -> None:
        watched = self.first is not None and file.endswith(".py")
        ready = self.shown.count("worker ready") if watched else 0
        (self.folder / file).write_text(text)
        if watched:
            await eventually(lambda: self.shown.count("worker ready") > ready, within=60)

    async def type_in_the_first(self, line: str) -> None:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.environment[name] = self.addresses.get(value, value)
        elif line.startswith("callboard dev "):
            self.stop()
            with (self.folder.parent / "shown").open("wb") as shown:
                words = [*words_of(line), "--port", "0"]
                self.first = subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=shown, stderr=shown)
            await eventually(lambda: "worker ready" in self.shown, within=60)
            self.environment["NATS_URL"] = self.shown.split("NATS       ")[1].split()[0]
        else:
            assert line.startswith(INSTALLATION), f"what does the reader do with {line!r}?"

    def type(self, command: str, output: str) -> None:
        done = subprocess.run(
            words_of(command),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert unchanging(self.as_on_the_page(done.stdout)) == unchanging(output), command
        self.traces += re.findall(r"/trace/([0-9a-f]{32})", done.stdout)

    def as_on_the_page(self, text: str) -> str:
        for there, here in self.addresses.items():
            text = text.replace(here, there)
        return text

    def stop(self) -> None:
        """Ctrl-C in the first terminal."""
        if self.first is not None:
            self.first.send_signal(signal.SIGINT)
            assert self.first.wait(60) == 0, self.shown
            self.first = None


def words_of(command: str) -> list[str]:
    return [sys.executable, "-m", *shlex.split(command)]


def unchanging(text: str) -> list[str]:
    for pattern, name in CHANGING.items():
        text = re.sub(pattern, name, text)
    return [line.rstrip() for line in text.splitlines()]


@pytest.fixture
def reader(tmp_path: Path, jaeger: JaegerServer) -> Iterator[Reader]:
    (folder := tmp_path / "greetings").mkdir()
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "NATS_", "CALLBOARD_", "PYTEST_"))
    }
    addresses = {
        "http://127.0.0.1:4318": jaeger.endpoint,
        "http://127.0.0.1:16686": f"http://127.0.0.1:{jaeger.api_port}",
    }
    reader = Reader(folder, {**environment, "PYTHONUNBUFFERED": "1"}, addresses)  # as on a terminal
    yield reader
    reader.stop()


@pytest.mark.timeout(400)
async def test_reader_of_the_first_page_gets_a_reply_and_finds_its_trace(reader: Reader, jaeger: JaegerServer) -> None:
    for block in blocks_of(PAGE):
        await reader.read(block)

    (trace_id,) = reader.traces
    await eventually(lambda: len(jaeger.trace(trace_id)) == 3, within=60)
    [shown] = [block.text for block in blocks_of(PAGE) if "[CLIENT " in block.text]
    assert without_times(tree_of(jaeger.trace(trace_id))) == without_times(shown)
    assert re.findall(r"failed \(attempt (\d)", reader.shown) == []


def without_times(tree: str) -> list[str]:
    return re.sub(r"  [\d.]+ ms", "", tree).splitlines()
