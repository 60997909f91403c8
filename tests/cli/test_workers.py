"""Worker processes: what becomes of their messages when they die, and how they stop."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from callboard.embedded import EmbeddedServer
from tests.cli.command import CommandLine, Running, command_line
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")

LEASE = 30.0
"""Seconds of the service's `ack_wait`: what is handled again sooner did not wait for it."""

SERVICE = '''
import asyncio
import ctypes
import os
from contextlib import suppress
from pathlib import Path

from callboard import Actor, command


def note(line: str) -> None:
    """One line, also when the process dies right after."""
    file = os.open("runs.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(file, f"{line} {os.getpid()}\\n".encode())
    os.close(file)


if Path("broken").exists():
    os._exit(9)


class Jobs(Actor):
    concurrency = 8
    retry = (0.2,)

    @command("jobs.wait")
    async def wait(self, name: str) -> str:
        note(name)
        while not Path("go").exists():
            await asyncio.sleep(0.01)
        note(f"{name}.done")
        return name

    @command("jobs.crash")
    async def crash(self, name: str) -> None:
        note(name)
        ctypes.string_at(0)

    @command("jobs.exit")
    async def exit(self, name: str) -> None:
        note(name)
        os._exit(0)

    @command("jobs.hang", timeout=0.3, hard_timeout=1.0)
    async def hang(self, name: str) -> None:
        note(name)
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    @command("jobs.block", hard_timeout=1.0)
    def block(self, name: str) -> None:
        note(name)
        ctypes.PyDLL(None).sleep(60)  # holds the interpreter's lock
'''


@pytest.fixture
async def jobs(tmp_path: Path, nats_server: EmbeddedServer) -> AsyncIterator[CommandLine]:
    """The command in a folder with the service, and the address of the test's server."""
    async with command_line(tmp_path / "project", SERVICE) as command:
        command.environment["NATS_URL"] = nats_server.url
        yield command


@pytest.fixture
async def js(nats_server: EmbeddedServer) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(nats_server.url, allow_reconnect=False)
    yield client.jetstream()
    await client.close()


async def publish(js: JetStreamContext, topic: str, *names: str) -> None:
    for name in names:
        await js.publish(topic, json.dumps(name).encode())


def runs(running: Running) -> list[tuple[str, int]]:
    """What began or ended, with the process that did it."""
    try:
        lines = (running.folder / "runs.txt").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(name, int(pid)) for name, pid in (line.split() for line in lines)]


def count(running: Running, name: str) -> int:
    return Counter(name for name, _ in runs(running))[name]


async def began(running: Running, name: str, times: int = 1) -> None:
    await eventually(lambda: count(running, name) >= times, within=25)


async def began_by(running: Running, name: str) -> int:
    """The process that runs a message."""
    await began(running, name)
    return dict(runs(running))[name]


async def letters(js: JetStreamContext) -> list[dict[str, str]]:
    """The headers of all dead letters."""
    try:
        info = await js.stream_info("CALLBOARD_DEAD")
    except NotFoundError:
        return []
    numbers = range(info.state.first_seq, info.state.last_seq + 1) if info.state.messages else ()
    return [(await js.get_msg("CALLBOARD_DEAD", number)).headers or {} for number in numbers]


async def letter(js: JetStreamContext) -> dict[str, str]:
    """The only dead letter, as soon as there is one."""

    async def there() -> bool:
        return bool(await letters(js))

    await eventually(there, within=25)
    (only,) = await letters(js)
    return only


async def unsettled(js: JetStreamContext, topic: str = "") -> int:
    """Messages that are not settled, of all mailboxes or of one."""
    mailboxes = [info for info in await js.consumers_info("JOBS") if topic in {"", info.config.filter_subject}]
    assert mailboxes
    return sum((info.num_pending or 0) + (info.num_ack_pending or 0) for info in mailboxes)


async def all_settled(js: JetStreamContext, topic: str = "") -> None:
    async def settled() -> bool:
        return await unsettled(js, topic) == 0

    await eventually(settled)


# Deaths


async def test_replacement_takes_over_what_ran_without_waiting_for_its_lease(
    jobs: CommandLine, js: JetStreamContext
) -> None:
    running = await jobs.run("svc")
    worker = await running.worker()
    await publish(js, "jobs.wait", "a", "b")
    await asyncio.gather(began(running, "a"), began(running, "b"))
    killed = time.monotonic()

    os.kill(worker, signal.SIGKILL)
    await running.worker(2)
    (running.folder / "go").touch()
    await asyncio.gather(began(running, "a.done"), began(running, "b.done"))

    assert time.monotonic() - killed < LEASE / 2
    await all_settled(js)
    assert await letters(js) == []
    assert "messages in progress: 2" in running.text
    assert running.text.rindex("ran in a worker that died") < running.text.rindex("Jobs is running")


async def test_live_sibling_takes_over_while_no_replacement_starts(jobs: CommandLine, js: JetStreamContext) -> None:
    running = await jobs.run("svc", "--workers", "2")
    await running.worker(2)
    await publish(js, "jobs.wait", "a", "b", "c")
    await asyncio.gather(*(began(running, name) for name in "abc"))
    victim = await began_by(running, "a")
    orphans = {name for name, pid in runs(running) if pid == victim}
    (running.folder / "broken").touch()

    os.kill(victim, signal.SIGKILL)
    (running.folder / "go").touch()
    await asyncio.gather(*(began(running, f"{name}.done") for name in "abc"))
    await all_settled(js)

    assert {name: count(running, name) for name in "abc"} == {name: 1 + (name in orphans) for name in "abc"}


async def test_worker_that_dies_before_it_has_settled_orphans_passes_them_on(
    jobs: CommandLine, js: JetStreamContext
) -> None:
    running = await jobs.run("svc", "--workers", "2")
    workers = {await running.worker(1), await running.worker(2)}
    await publish(js, "jobs.wait", "a")
    victim = await began_by(running, "a")
    (sibling,) = workers - {victim}
    os.kill(sibling, signal.SIGSTOP)
    killed = time.monotonic()

    os.kill(victim, signal.SIGKILL)
    await running.worker(3)
    assert count(running, "a") == 1
    os.kill(sibling, signal.SIGKILL)
    await began(running, "a", 2)

    assert time.monotonic() - killed < LEASE / 2
    (running.folder / "go").touch()
    await all_settled(js)


@pytest.mark.parametrize("how", ["crash", "exit"])
async def test_message_that_ends_its_worker_is_given_up_after_two_deaths(
    jobs: CommandLine, js: JetStreamContext, how: str
) -> None:
    running = await jobs.run("svc")
    await running.worker()
    await publish(js, "jobs.wait", "neighbour")
    await began(running, "neighbour")

    asking = asyncio.create_task(jobs("request", f"jobs.{how}", '"killer"', "--timeout", "20"))
    await running.says("messages in progress: 2")
    (running.folder / "go").touch()  # suspects take turns
    reply = await asking

    assert reply.code == 1
    assert "500 WorkerDiedError" in reply.err
    assert (await letter(js))["Callboard-Dead-Error-Type"] == "worker_died"
    await eventually(lambda: count(running, "neighbour.done") == 1)  # suspects take turns, and it may be the last
    await all_settled(js, f"jobs.{how}")
    assert count(running, "killer") == 2
    assert running.text.count("messages in progress") == 2


async def test_replacement_that_dies_at_its_start_is_backed_off_and_loses_no_orphans(
    jobs: CommandLine, js: JetStreamContext
) -> None:
    running = await jobs.run("svc")
    await running.worker()
    await publish(js, "jobs.hang", "hung")
    await began(running, "hung")
    (running.folder / "broken").touch()

    await running.says("messages in progress: 0", 3)
    (running.folder / "broken").unlink()

    assert (await letter(js))["Callboard-Dead-Attempts"] == "2"
    assert count(running, "hung") == 2
    delays = re.findall(r"in progress: 0; again in (\S+) s", running.text)
    assert any(float(delay) > 0 for delay in delays[1:])


# Hard limits


@pytest.mark.parametrize("how", ["hang", "block"])
async def test_handler_that_hangs_is_retried_and_given_up_by_its_failure_policy(
    jobs: CommandLine, js: JetStreamContext, how: str
) -> None:
    running = await jobs.run("svc")
    await running.worker()
    await publish(js, "jobs.wait", "neighbour")
    await began(running, "neighbour")

    reply = await jobs("request", f"jobs.{how}", '"hung"', "--timeout", "20")

    assert reply.code == 1
    assert "500 HandlerTimeoutError" in reply.err
    dead = await letter(js)
    assert (dead["Callboard-Dead-Error-Type"], dead["Callboard-Dead-Attempts"]) == ("HandlerTimeoutError", "2")
    (running.folder / "go").touch()
    await began(running, "neighbour.done")
    await all_settled(js)
    assert count(running, "hung") == 2
    assert count(running, "neighbour") == 3
    assert running.text.count("past its hard limit") == 2
    assert running.text.count("again in 0.0 s") == 2
    assert f"Jobs.{how} did not finish within 1 s" in running.text


# Stopping


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_drains_all_workers_and_stops_the_embedded_server_last(
    tmp_path: Path, number: signal.Signals
) -> None:
    names = [f"m{number}" for number in range(12)]
    port = _free_port()
    async with command_line(tmp_path / "project", SERVICE.replace("concurrency = 8", "concurrency = 4")) as command:
        running = await command.run("svc", "--embedded", "--port", str(port), "--store", "data", "--workers", "3")
        workers = {await running.worker(which) for which in (1, 2, 3)}
        client = await nats.connect(f"nats://127.0.0.1:{port}", allow_reconnect=False)
        await publish(client.jetstream(), "jobs.wait", *names)
        await client.close()
        await asyncio.gather(*(began(running, name) for name in names))
        assert {pid for _, pid in runs(running)} == workers

        running.signal(number)
        await running.says("stopping")
        (running.folder / "go").touch()
        assert await running.ended() == 0

        assert all(count(running, f"{name}.done") == 1 for name in names)
        async with EmbeddedServer(store=command.folder / "data", port=0) as server:
            client = await nats.connect(server.url, allow_reconnect=False)
            assert await unsettled(client.jetstream()) == 0
            await client.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_worker_that_hangs_does_not_outlive_the_grace_period(jobs: CommandLine, js: JetStreamContext) -> None:
    running = await jobs.run("svc", "--grace", "1")
    await running.worker()
    await publish(js, "jobs.hang", "hung")
    await began(running, "hung")
    begun = time.monotonic()

    running.signal(signal.SIGTERM)

    assert await running.ended() == 0
    assert time.monotonic() - begun < 1 + 5 + 3


async def test_help_says_what_exit_codes_mean_and_that_workers_are_replaced(jobs: CommandLine) -> None:
    told = " ".join((await jobs("run", "--help")).out.split())

    assert "70 an essential actor" in told
    assert "A worker process that dies is replaced" in told
