"""What the page on deploying has people copy works: server files, manifests, command lines."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import configparser
import json
import shlex
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import nats
import pytest
import typer
import yaml
from nats.errors import Error as NatsError

from callboard.cli.app import app
from tests.cli.command import CommandLine, command_line
from tests.docs.page import blocks_of
from tests.faults.cluster import free_ports
from tests.jetstream.eventually import eventually
from tests.observability.stack import ROOT, SERVICES

GUIDE = ROOT / "docs" / "guide"
BLOCKS = blocks_of(GUIDE / "deploying.md")
FILES = {block.text.partition("\n")[0].removeprefix("# "): block.text for block in BLOCKS}
COMPOSE: Any = yaml.safe_load(FILES["compose.yaml"])
POD: Any = yaml.safe_load(FILES["deployment.yml"])["spec"]["template"]["spec"]
UNIT = configparser.ConfigParser(interpolation=None)
UNIT.read_string(FILES["shop.service"])
HOSTS = ("a", "b", "c")


def test_compose_file_fits_the_schema_of_the_specification() -> None:
    schema = ROOT / "tests" / "observability" / "compose-spec" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(schema.read_text()))


@pytest.mark.parametrize("key", ["image", "command", "volumes", "healthcheck", "restart"])
def test_server_of_the_compose_file_is_that_of_the_repository(key: str) -> None:
    assert COMPOSE["services"]["nats"][key] == SERVICES["nats"][key]


@pytest.mark.parametrize("key", ["healthcheck", "restart", "stop_grace_period"])
def test_service_of_the_compose_file_is_run_as_that_of_the_repository(key: str) -> None:
    assert COMPOSE["services"]["shop"][key] == SERVICES["flights"][key]


def test_image_has_the_base_of_the_repositorys() -> None:
    [dockerfile] = [block.text for block in BLOCKS if block.language == "dockerfile"]
    base = dockerfile.splitlines()[0]
    assert base in (ROOT / "Dockerfile").read_text().splitlines()
    assert f"callboard=={version('callboard')}\n" in dockerfile


def command_lines() -> Iterator[list[str]]:
    """Everything on the page that runs `callboard`."""
    yield COMPOSE["services"]["shop"]["command"]
    yield POD["containers"][0]["args"]
    yield shlex.split(UNIT["Service"]["ExecStart"])
    for block in BLOCKS:
        for line in block.text.splitlines():
            if block.language == "dockerfile" and line.startswith("CMD "):
                yield json.loads(line.removeprefix("CMD "))
            if block.language == "sh" and line.startswith("callboard "):
                yield shlex.split(line, comments=True)


@pytest.mark.parametrize("words", list(command_lines()), ids=" ".join)
def test_command_line_is_one_that_callboard_understands(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yml").write_text(FILES["config.yml"])
    program, *words = words
    assert Path(program).name == "callboard"
    command: Any = typer.main.get_command(app)
    while hasattr(command, "resolve_command"):
        _, command, words = command.resolve_command(typer.Context(command), words)
    context = command.make_context("callboard", words)
    assert context.params["targets"] == ["shop"] or context.params["config"] == Path("config.yml")


def test_probes_are_those_of_the_page_on_health() -> None:
    [shown] = [block.text for block in blocks_of(GUIDE / "health.md") if block.language == "yaml"]
    container = POD["containers"][0]
    for key, value in yaml.safe_load(shown)["containers"][0].items():
        if key.endswith("Probe"):
            assert container[key] == value


@pytest.mark.parametrize("seconds", [POD["terminationGracePeriodSeconds"], int(UNIT["Service"]["TimeoutStopSec"])])
def test_whoever_stops_a_service_waits_longer_than_its_grace(seconds: int) -> None:
    for words in (POD["containers"][0]["args"], shlex.split(UNIT["Service"]["ExecStart"])):
        assert seconds > int(words[words.index("--grace") + 1]) + 5


def test_files_of_the_servers_differ_in_the_name_alone() -> None:
    same = {FILES[f"{host}.conf"].replace(f"# {host}.conf", "").replace(f"server_name: {host}", "") for host in HOSTS}
    assert len(same) == 1


@pytest.fixture
async def cluster(nats_binary: Path, tmp_path: Path) -> AsyncIterator[str]:
    """The page's three servers, on one machine: addresses and folders are others. Gives the addresses."""
    clients, routes, watched = (dict(zip(HOSTS, free_ports(3), strict=True)) for _ in range(3))
    with ExitStack() as stack:
        for host in HOSTS:
            text = FILES[f"{host}.conf"].replace("/var/lib/nats", str(tmp_path / host))
            text = text.replace("0.0.0.0:4222", f"127.0.0.1:{clients[host]}")
            text = text.replace("0.0.0.0:6222", f"127.0.0.1:{routes[host]}")
            text = text.replace("127.0.0.1:8222", f"127.0.0.1:{watched[host]}")
            for other in HOSTS:
                text = text.replace(f"{other}.example:6222", f"127.0.0.1:{routes[other]}")
            file = tmp_path / f"{host}.conf"
            file.write_text(text)
            server = subprocess.Popen([nats_binary, "--config", file, "--log", tmp_path / f"{host}.log"])
            stack.callback(server.wait)
            stack.callback(server.kill)
        url = ",".join(f"nats://127.0.0.1:{port}" for port in clients.values())
        await eventually(lambda: takes_streams(url), within=30)
        yield url


async def takes_streams(url: str) -> bool:
    """Whether the three know one another and have a leader."""
    try:
        async with await nats.connect(url.split(","), allow_reconnect=False, connect_timeout=2) as client:
            js = client.jetstream(timeout=1)
            await js.add_stream(name="PROBE", subjects=["probe"], num_replicas=3)
            await js.delete_stream("PROBE")
    except (NatsError, OSError, TimeoutError):
        return False
    return True


@pytest.fixture
async def command(cluster: str, tmp_path: Path) -> AsyncIterator[CommandLine]:
    """The command line in a folder with the page's files, and the cluster's real addresses."""
    async with command_line(tmp_path / "srv", "") as command:
        for name in ("shop.py", "config.yml"):
            (command.folder / name).write_text(FILES[name])
        command.environment.update(NATS_URL=cluster, CALLBOARD_HEALTH_PORT="0")
        yield command


@pytest.mark.timeout(120)
async def test_the_pages_servers_and_steps_give_a_service_with_three_replicas(command: CommandLine) -> None:
    applied = await command("topology", "apply", "--config", "config.yml")
    assert applied.code == 0, applied.err
    running = await command.run("--config", "config.yml")
    await running.worker()

    answer = await command("request", "orders.place", '"soup"')
    assert json.loads(answer.out) == "one soup", answer.err
    doctor = await command("doctor", "--config", "config.yml")
    assert doctor.code == 0, doctor.out
    assert "file storage, 3 replicas" in doctor.out
