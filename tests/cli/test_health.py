"""What `callboard run --health-port` tells probes, with real processes."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from attrs import frozen

from callboard.embedded import EmbeddedServer
from tests.cli.command import CommandLine, Running, command_line
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")

SERVICE = '''
import asyncio
from pathlib import Path

from callboard import Actor, ActorCrash, ChildSpec, Supervisor, command


class Jobs(Actor):
    """Starts as long as there is no file `hold`."""

    async def on_start(self) -> None:
        while Path("hold").exists():
            await asyncio.sleep(0.01)

    @command("jobs.wait")
    async def wait(self) -> None:
        Path("begun").touch()
        while not Path("go").exists():
            await asyncio.sleep(0.01)

    @command("jobs.crash")
    async def crash(self) -> None:
        """Once."""
        if not Path("crashed").exists():
            Path("crashed").touch()
            raise ActorCrash("beyond repair")


tree = Supervisor([ChildSpec(Jobs, essential=True)])
'''


@frozen
class Answer:
    status: int
    content: dict[str, Any]

    @property
    def reasons(self) -> str:
        return " | ".join(self.content["reasons"])


@frozen(eq=False)
class Probed:
    """A running service and its health port."""

    running: Running
    port: int

    async def ask(self, path: str) -> Answer:
        def asking() -> Answer:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return Answer(response.status, msgspec.json.decode(response.read()))
            finally:
                connection.close()

        return await asyncio.to_thread(asking)

    async def says(self, status: int, reason: str = "") -> Answer:
        """Return once /ready answers with this status and a reason that contains the text."""
        found: list[Answer] = []

        async def asked() -> bool:
            found.append(await self.ask("/ready"))
            return found[-1].status == status and reason in found[-1].reasons

        try:
            await eventually(asked, within=30)
        except TimeoutError:
            pytest.fail(f"no {status} with {reason!r}, but {found[-1]}\n{self.running.text}")
        return found[-1]


@pytest.fixture
async def jobs(tmp_path: Path, nats_server: EmbeddedServer) -> AsyncIterator[CommandLine]:
    async with command_line(tmp_path / "project", SERVICE) as command:
        command.environment["NATS_URL"] = nats_server.url
        yield command


async def probed(jobs: CommandLine, *arguments: str) -> Probed:
    """The service, which need not be ready yet."""
    running = await jobs.run("svc", "--health-port", "0", *arguments)
    await running.says("health on port ")
    return Probed(running, int(running.text.split("health on port ")[1].split(":")[0]))


async def test_probes_follow_a_service_from_its_start_to_its_drain(jobs: CommandLine) -> None:
    (jobs.folder / "hold").touch()
    service = await probed(jobs)
    await service.says(503, "Jobs is starting and essential")
    assert (await service.ask("/startup")).status == 503
    assert (await service.ask("/live")).status == 200

    (jobs.folder / "hold").unlink()
    ready = await service.says(200)
    assert ready.content["status"] == "ready"
    assert (await service.ask("/startup")).status == 200

    await jobs("publish", "jobs.wait")
    await service.running.exists("begun")
    service.running.signal(signal.SIGTERM)
    await service.says(503, "it is stopping")
    await service.says(503, "worker 0: it is draining")
    assert (await service.ask("/live")).status == 200
    assert service.running.process.returncode is None

    (jobs.folder / "go").touch()
    assert await service.running.ended() == 0


async def test_detail_names_workers_actors_and_mailboxes(jobs: CommandLine) -> None:
    service = await probed(jobs)

    [worker] = (await service.says(200)).content["workers"]

    assert worker["pid"] == await service.running.worker()
    [actor] = worker["actors"]
    assert (actor["service"], actor["name"], actor["state"], actor["essential"]) == ("svc", "Jobs", "running", True)
    assert [(box["topic"], box["live"]) for box in actor["mailboxes"]] == [("jobs.wait", True), ("jobs.crash", True)]


async def test_deleted_stream_makes_it_not_ready_and_is_the_reason(
    jobs: CommandLine, nats_server: EmbeddedServer
) -> None:
    service = await probed(jobs)
    await service.says(200)

    client = await nats.connect(nats_server.url)
    await client.jetstream().delete_stream("JOBS")
    await client.close()

    await service.says(503, "stands still: stream 'JOBS'")
    assert (await service.ask("/live")).status == 200


async def test_essential_actor_that_is_down_makes_it_not_ready(jobs: CommandLine) -> None:
    service = await probed(jobs)
    await service.says(200)

    (jobs.folder / "hold").touch()
    await jobs("publish", "jobs.crash")
    await service.says(503, "and essential")
    (jobs.folder / "hold").unlink()

    again = await service.says(200)
    assert again.content["workers"][0]["actors"][0]["restarts"] >= 1


async def test_killed_worker_makes_it_not_ready_until_it_is_replaced(jobs: CommandLine) -> None:
    service = await probed(jobs, "--workers", "2")
    before = await service.says(200)
    (jobs.folder / "hold").touch()

    os.kill(before.content["workers"][1]["pid"], signal.SIGKILL)
    down = await service.says(503, "worker 1: ")
    assert "worker 0: " not in down.reasons
    assert (await service.ask("/startup")).status == 200
    (jobs.folder / "hold").unlink()

    after = await service.says(200)
    pids = [[worker["pid"] for worker in answer.content["workers"]] for answer in (before, after)]
    assert pids[0][0] == pids[1][0]
    assert pids[0][1] != pids[1][1]


async def test_worker_whose_event_loop_stands_still_is_not_ready(jobs: CommandLine) -> None:
    service = await probed(jobs)
    pid = (await service.says(200)).content["workers"][0]["pid"]

    os.kill(pid, signal.SIGSTOP)
    try:
        await service.says(503, "worker 0: its event loop has stood still")
    finally:
        os.kill(pid, signal.SIGCONT)

    await service.says(200)


async def test_not_ready_without_a_server_and_ready_when_it_is_back(
    jobs: CommandLine, nats_server: EmbeddedServer
) -> None:
    service = await probed(jobs)
    await service.says(200)

    nats_server.kill()
    await nats_server.wait()
    await service.says(503, "has no live pull")
    assert (await service.ask("/live")).status == 200

    await nats_server.restart()
    await service.says(200)


async def test_client_that_says_nothing_does_not_hold_up_the_stop(jobs: CommandLine) -> None:
    service = await probed(jobs)
    await service.says(200)
    with socket.create_connection(("127.0.0.1", service.port)) as silent:
        silent.sendall(b"GET /ready")

        service.running.signal(signal.SIGTERM)

        assert await asyncio.wait_for(service.running.process.wait(), 10) == 0


async def test_port_that_is_taken_is_wrong_use(callboard: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = await callboard("run", "svc", CALLBOARD_HEALTH_PORT=str(port), CALLBOARD_HEALTH_HOST="127.0.0.1")

    assert result.code == 2
    assert f"callboard: cannot listen on port {port} of '127.0.0.1'" in result.err
    assert "Traceback" not in result.err
