"""The processes of the demonstration: nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from actors.process import SupervisorEndedError, SupervisorProcess
from callboard.embedded import EmbeddedServer


async def until_ready(supervisor: SupervisorProcess) -> int:
    """Wait for the supervisor's worker; its process number."""
    while "worker ready" not in supervisor.log:
        await asyncio.sleep(0.01)
    return int(supervisor.log.partition("worker ready (pid ")[2].partition(")")[0])


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until_gone(pid: int) -> None:
    while runs(pid):
        await asyncio.sleep(0.01)


async def until_noticed(supervisor: SupervisorProcess) -> None:
    while True:
        supervisor.check()
        await asyncio.sleep(0.01)


async def test_leaving_the_block_stops_the_supervisor_and_its_worker(
    nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with SupervisorProcess(nats_server.url, tmp_path) as supervisor:
        worker = await until_ready(supervisor)
        supervisor.check()
    await until_gone(worker)


async def test_killing_leaves_no_worker(nats_server: EmbeddedServer, tmp_path: Path) -> None:
    async with SupervisorProcess(nats_server.url, tmp_path) as supervisor:
        worker = await until_ready(supervisor)
        await supervisor.kill()
        await until_gone(worker)
        supervisor.check()


async def test_a_supervisor_that_ends_by_itself_is_noticed_with_its_last_words(tmp_path: Path) -> None:
    async with SupervisorProcess("nats://127.0.0.1:1", tmp_path) as supervisor:
        with pytest.raises(SupervisorEndedError, match=r"(?s)code 3.*no NATS server"):
            await until_noticed(supervisor)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_demonstration_that_is_stopped_leaves_nothing_behind(
    nats_binary: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; a child would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "actors.demo"),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    while not list(tmp_path.glob("*/flights.sqlite")):
        await asyncio.sleep(0.01)
    process.send_signal(number)
    assert await process.wait() == code
    assert list(tmp_path.iterdir()) == []
