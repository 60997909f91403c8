"""No secret is in anything that a running service shows."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

import callboard as library
from callboard.config import Config
from callboard.embedded import EmbeddedServer
from callboard.testing import SpanReceiver
from tests.cli.command import CommandLine, Running
from tests.jetstream.access import WAYS, Way
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")

PLACES = [
    ("password", "file"),
    ("password", "address"),
    ("token", "address"),
    ("nkey", "file"),
    ("credentials", "file"),
]


def settings(way: Way, place: str, url: str, *, right: bool = True) -> dict[str, Any]:
    """What a client says below `nats`."""
    said = way.settings if right else way.wrong
    if place == "file":
        return {"servers": url, **said}
    user = way.user if right else ":".join(said.values())
    return {"servers": url.replace("//", f"//{user}@")}


def write(command: CommandLine, nats: dict[str, Any], **more: Any) -> None:
    (command.folder / "config.yml").write_text(yaml.safe_dump({"callboard": {"nats": nats, **more}}))


def command_lines(running: Running, worker: int) -> str:
    return " ".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in (running.process.pid, worker))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "place"), PLACES)
async def test_nothing_shows_a_secret(kind: str, place: str, callboard: CommandLine, tmp_path: Path) -> None:
    """Not the log at DEBUG, `ps`, the health endpoint, `doctor`, `spec`, a span, or the error of a wrong one."""
    way = WAYS[kind](tmp_path)
    with SpanReceiver() as receiver:
        callboard.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.endpoint
        async with EmbeddedServer(port=0, extra_config=way.server) as server:
            write(callboard, settings(way, place, server.url), health={"port": 0, "host": "127.0.0.1"})
            running = await callboard.run("svc", "--config", "config.yml", "--log-level", "debug")
            worker = await running.worker()
            port = running.text.split("health on port ")[1].split(":")[0]
            asked = urllib.request.Request(f"http://127.0.0.1:{port}/ready")
            with await asyncio.to_thread(urllib.request.urlopen, asked) as answer:
                health = answer.read().decode()
            async with library.connect(config=Config(callboard.folder / "config.yml")) as board:
                assert await board.request("orders.add", [1, 2], timeout=10) == 3
            looked = await callboard("doctor", "svc", "--config", "config.yml")
            described = await callboard("spec", "svc", "--config", "config.yml")
            await server.restart()
            await running.says("reconnected to")
            processes = command_lines(running, worker)
            running.process.terminate()
            await running.ended()
            await eventually(lambda: bool(receiver.spans))

            write(callboard, settings(way, place, server.url, right=False))
            refused = await callboard("run", "svc", "--config", "config.yml", "--log-level", "debug")

    assert (looked.code, described.code) == (0, 0), looked.out
    assert refused.code == 5
    assert "does not accept" in refused.err
    shown = f"{running.text}{health}{looked}{described}{processes}{receiver.spans}{refused}"
    assert server.url in shown
    assert [secret for secret in way.secrets if secret in shown] == []
