"""The embedded server starts, stops and dies as promised."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StorageType

from callboard.embedded import EmbeddedServer, EmbeddedServerError
from callboard.embedded.binary import find_binary
from callboard.errors import ClosedError, MissingExtraError

pytestmark = pytest.mark.usefixtures("nats_binary")

_STARTER = """
import asyncio, signal, subprocess, sys
from pathlib import Path
from callboard.embedded import EmbeddedServer

async def main():
    async with EmbeddedServer(store=Path(sys.argv[1]), port=0) as server:
        worker = 0
        if sys.argv[2] == "with-worker":
            code = "import signal; signal.pause()"
            worker = subprocess.Popen([sys.executable, "-c", code], pass_fds=[server.lifeline_fd]).pid
        print(server.pid, worker, flush=True)
        signal.pause()

asyncio.run(main())
"""


@contextmanager
def starter(store: Path, mode: str) -> Generator[tuple[subprocess.Popen[str], int, int]]:
    """Another program that runs an embedded server: its process, the server's pid and the worker's pid."""
    command = [sys.executable, "-c", _STARTER, str(store), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            server, worker = map(int, first_line(process.stdout).split())
            yield process, server, worker
        finally:
            process.kill()


def first_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


@asynccontextmanager
async def connection(server: EmbeddedServer) -> AsyncGenerator[Client]:
    client = await nats.connect(server.url, allow_reconnect=False)
    try:
        yield client
    finally:
        await client.close()


async def holds(condition: Callable[[], bool], *, within: float) -> bool:
    """Whether the condition becomes true in time."""
    try:
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        return False
    return True


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_clients_can_use_jetstream_as_soon_as_setup_returns(nats_server: EmbeddedServer) -> None:
    async with connection(nats_server) as client:
        await client.jetstream().add_stream(name="S", subjects=["s"])
        ack = await client.jetstream().publish("s", b"x")
    assert ack.seq == 1


async def test_port_0_gives_each_server_a_port_of_its_own(nats_server: EmbeddedServer) -> None:
    async with EmbeddedServer(port=0) as other:
        assert 0 not in (nats_server.port, other.port)
        assert nats_server.port != other.port


async def test_the_server_listens_on_loopback_only(nats_server: EmbeddedServer) -> None:
    assert f"Listening for client connections on 127.0.0.1:{nats_server.port}" in log_of(nats_server)


async def test_extra_configuration_reaches_the_server() -> None:
    async with (
        EmbeddedServer(port=0, extra_config="max_payload: 1000") as server,
        connection(server) as client,
    ):
        assert client.max_payload == 1000


async def test_extra_configuration_is_readable_for_this_user_only(tmp_path: Path) -> None:
    async with EmbeddedServer(store=tmp_path, port=0, extra_config="authorization { token: t }"):
        mode = (tmp_path / "server.conf").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


async def test_stored_messages_survive_a_kill_and_a_restart_on_the_same_port(
    nats_server: EmbeddedServer,
) -> None:
    url = nats_server.url
    async with connection(nats_server) as client:
        await client.jetstream().add_stream(name="S", subjects=["s"], storage=StorageType.FILE)
        await client.jetstream().publish("s", b"kept")
    nats_server.kill()
    await nats_server.restart()
    async with connection(nats_server) as client:
        message = await client.jetstream().get_msg("S", 1)
    assert (nats_server.url, message.data) == (url, b"kept")


async def test_a_running_server_is_replaced_by_a_restart(nats_server: EmbeddedServer) -> None:
    before = nats_server.pid
    await nats_server.restart()
    assert gone(before)
    assert nats_server.pid != before


async def test_setup_and_destroy_may_be_repeated(nats_server: EmbeddedServer) -> None:
    before = nats_server.pid
    await nats_server.setup()
    assert nats_server.pid == before
    await nats_server.destroy()
    await nats_server.destroy()
    assert gone(before)


async def test_a_port_in_use_is_named_in_one_line_with_the_fix(nats_server: EmbeddedServer) -> None:
    with pytest.raises(EmbeddedServerError) as caught:
        await EmbeddedServer(port=nats_server.port).setup()
    assert str(caught.value) == (
        f"embedded NATS server could not start: port {nats_server.port} is in use; "
        "stop what listens there, or choose another port (0: any free one)"
    )


@pytest.mark.parametrize("config", ["max_payloadd: 1", 'max_payload: "x"', "cluster {"])
async def test_wrong_configuration_is_refused_in_one_line_of_the_server(config: str) -> None:
    with pytest.raises(EmbeddedServerError) as caught:
        await EmbeddedServer(port=0, extra_config=config).setup()
    assert "it ended without saying why" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_unusable_store_is_refused_with_the_words_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "jetstream").touch()
    with pytest.raises(EmbeddedServerError, match="could not start: Can't start JetStream: "):
        await EmbeddedServer(store=tmp_path, port=0).setup()


async def test_a_server_that_is_not_ready_in_time_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callboard.embedded.server.START_TIMEOUT", 0.0)
    server = EmbeddedServer(store=tmp_path, port=0)
    with pytest.raises(EmbeddedServerError, match="not ready within 0 s"):
        await server.setup()
    assert not server.alive


async def test_a_store_that_another_server_uses_is_refused(nats_server: EmbeddedServer) -> None:
    with pytest.raises(EmbeddedServerError, match="is in use by another embedded server; connect to that one"):
        await EmbeddedServer(store=nats_server.store, port=0).setup()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
async def test_a_server_that_lost_its_guard_keeps_its_store_until_it_has_ended(
    nats_server: EmbeddedServer,
) -> None:
    server, log = nats_server.pid, log_of(nats_server)
    nats_server.pause()
    os.kill(parent_of(server), signal.SIGKILL)
    assert await holds(lambda: not nats_server.alive, within=5)
    with pytest.raises(EmbeddedServerError, match="is in use"):
        await EmbeddedServer(store=nats_server.store, port=0).setup()
    os.kill(server, signal.SIGCONT)
    assert await holds(lambda: "Server Exiting" in log_of(nats_server).removeprefix(log), within=5)


async def test_the_server_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    with starter(tmp_path, "alone") as (process, server, _):
        assert not gone(server)
        process.kill()
        assert await holds(lambda: gone(server), within=5)


async def test_a_worker_that_holds_the_lifeline_keeps_the_server_until_it_ends(tmp_path: Path) -> None:
    with starter(tmp_path, "with-worker") as (process, server, worker):
        process.kill()
        process.wait()
        try:
            assert not await holds(lambda: gone(server), within=0.5)
        finally:
            os.kill(worker, signal.SIGKILL)
        assert await holds(lambda: gone(server), within=5)


async def test_a_lifeline_serves_the_restarted_server_too(nats_server: EmbeddedServer) -> None:
    before = nats_server.lifeline_fd
    nats_server.kill()
    await nats_server.restart()
    assert nats_server.lifeline_fd == before


async def test_ctrl_c_in_the_terminal_does_not_reach_the_server(nats_server: EmbeddedServer) -> None:
    assert os.getsid(nats_server.pid) != os.getsid(0)


async def test_a_paused_server_answers_after_resume(nats_server: EmbeddedServer) -> None:
    async with connection(nats_server) as client:
        jetstream = client.jetstream()
        await jetstream.add_stream(name="S", subjects=["s"])
        nats_server.pause()
        with pytest.raises(NatsError):
            await jetstream.publish("s", b"1", timeout=0.2)
        nats_server.resume()
        assert (await jetstream.publish("s", b"2")).stream == "S"


async def test_a_paused_server_is_stopped_without_waiting_for_the_grace_period(
    nats_server: EmbeddedServer,
) -> None:
    nats_server.pause()
    async with asyncio.timeout(5):
        await nats_server.destroy()
    assert "Server Exiting" in log_of(nats_server)


async def test_wait_returns_when_the_server_crashes(nats_server: EmbeddedServer) -> None:
    waiting = asyncio.create_task(nats_server.wait())
    nats_server.kill()
    assert await waiting == 128 + signal.SIGKILL
    assert not nats_server.alive


async def test_terminate_lets_the_server_finish(nats_server: EmbeddedServer) -> None:
    nats_server.terminate()
    assert await nats_server.wait() == 0
    assert "Server Exiting" in log_of(nats_server)


async def test_a_server_that_has_ended_has_no_pid(nats_server: EmbeddedServer) -> None:
    nats_server.kill()
    with pytest.raises(ClosedError):
        nats_server.pause()


async def test_a_temporary_store_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with EmbeddedServer(port=0) as server:
        assert found(tmp_path, "*/jetstream")
        server.kill()
        assert found(tmp_path, "*/jetstream")
    assert not found(tmp_path, "*")


async def test_a_failed_start_leaves_nothing_behind(
    nats_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    descriptors = open_descriptors()
    server = EmbeddedServer(port=nats_server.port)
    with pytest.raises(EmbeddedServerError):
        await server.setup()
    assert not server.alive
    assert not found(temporary, "*")
    assert open_descriptors() == descriptors


async def test_a_cancelled_start_leaves_nothing_behind(tmp_path: Path) -> None:
    server = EmbeddedServer(store=tmp_path, port=0)
    starting = asyncio.create_task(server.setup())
    assert await holds((tmp_path / "server.log").exists, within=5)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not server.alive
    async with EmbeddedServer(store=tmp_path, port=0):  # nobody holds the lock
        pass


async def test_a_missing_program_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look_in(monkeypatch, scripts=tmp_path, path=tmp_path)
    with pytest.raises(MissingExtraError, match=r"pip install 'callboard\[embedded\]'"):
        await EmbeddedServer(port=0).setup()


async def test_the_program_of_this_python_wins_over_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts, path = program_in(tmp_path / "scripts"), program_in(tmp_path / "path")
    look_in(monkeypatch, scripts=scripts.parent, path=path.parent)
    assert find_binary() == scripts
    scripts.unlink()
    assert find_binary() == path


def found(directory: Path, pattern: str) -> list[Path]:
    return list(directory.glob(pattern))


def log_of(server: EmbeddedServer) -> str:
    assert server.store is not None
    return (server.store / "server.log").read_text()


def parent_of(pid: int) -> int:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("PPid"))
    return int(line.split()[1])


def open_descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))  # noqa: PTH208 - names, not paths


def look_in(monkeypatch: pytest.MonkeyPatch, *, scripts: Path, path: Path) -> None:
    def scripts_path(*_: str) -> str:
        return str(scripts)

    monkeypatch.setattr(sysconfig, "get_path", scripts_path)
    monkeypatch.setenv("PATH", str(path))


def program_in(directory: Path) -> Path:
    directory.mkdir()
    program = directory / "nats-server"
    program.touch(mode=0o755)
    return program
