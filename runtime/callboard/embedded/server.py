"""A NATS server of our own, for as long as somebody needs it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Self

from attrs import define, field, frozen, validators

from callboard.embedded.binary import find_binary
from callboard.embedded.failure import EmbeddedServerError, reason_in
from callboard.embedded.process import GuardedProcess
from callboard.embedded.store import Store
from callboard.errors import ClosedError

__all__ = ["EmbeddedServer"]

HOST = "127.0.0.1"

START_TIMEOUT = 10.0
"""Seconds from the start of the process until the server must answer with JetStream ready."""

_READY_POLL = 0.005
_WATCH_POLL = 0.1


@frozen(eq=False)
class _Run:
    """What exists between `setup()` and `destroy()`."""

    files: Store
    process: GuardedProcess

    def end(self) -> None:
        self.process.stop()
        self.process.close()
        self.files.remove()


@define(kw_only=True, eq=False)
class EmbeddedServer:
    """Runs `nats-server` with JetStream on 127.0.0.1, without access control unless `extra_config` adds it.

    The server ends when this object is destroyed, and also when its process dies in any way, SIGKILL
    included: it lives only while some process holds `lifeline_fd`. It runs in a session of its own, so Ctrl-C
    does not reach it. `setup()` and `destroy()` may be repeated.
    """

    store: Path | None = None
    """Directory of the data and of `server.log`, created when missing. None: a temporary one, removed by
    `destroy()`."""
    port: int = field(default=4222, validator=[validators.ge(0), validators.le(65535)])
    """0 lets the server choose a free port. After the first start this is the port in use, and stays."""
    name: str = "callboard"
    """Server name, without spaces."""
    extra_config: str = field(default="", repr=False)
    """More configuration in NATS' own format. It cannot change address, port, name and store."""

    _run: _Run | None = field(init=False, default=None, repr=False)
    _pid: int | None = field(init=False, default=None, repr=False)

    async def setup(self) -> None:
        """Start the server; returns when clients can connect and JetStream is ready, usually after 50 ms.

        Raises `MissingExtraError` when there is no `nats-server`, and `EmbeddedServerError`, with the reason
        in one line, when the port or the store is in use, the configuration is wrong, or the server is not
        ready within `START_TIMEOUT`. Nothing is left running then.
        """
        if self._run is not None:
            return
        self._run = _Run(Store.at(self.store), GuardedProcess())
        try:
            await self._start()
        except BaseException:
            await self.destroy()
            raise

    async def destroy(self) -> None:
        """Stop the server gracefully, whoever else holds the lifeline, and remove a temporary store.

        A server that has not ended after 10 s is killed. A cancelled call still completes in a thread.
        """
        run, self._run = self._run, None
        if run is not None:
            await asyncio.shield(asyncio.to_thread(run.end))

    async def __aenter__(self) -> Self:
        await self.setup()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.destroy()

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether the server process runs. A paused one does."""
        return self._run is not None and self._run.process.alive

    @property
    def pid(self) -> int:
        """Process number of the server itself. Raises `ClosedError` when it does not run."""
        if not self.alive or self._pid is None:
            raise ClosedError("embedded server")
        return self._pid

    @property
    def lifeline_fd(self) -> int:
        """A descriptor that keeps the server alive, across restarts too, for every process that holds it.

        Worker processes inherit it with `subprocess.Popen(..., pass_fds=[server.lifeline_fd])` and need do
        nothing with it. If this process dies, the server then lives until they have ended.
        """
        return self._current().process.lifeline_fd

    async def wait(self) -> int:
        """Return when the server has ended, with its exit code; 128 + n when signal n ended it."""
        process = self._current().process
        while (code := process.code) is None:  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(_WATCH_POLL)
        return code

    async def restart(self) -> None:
        """Start again with the same store and port, after a graceful stop if the server still runs.

        Raises as `setup()` does, but the store and the lifeline stay until `destroy()`.
        """
        await asyncio.to_thread(self._current().process.stop)
        await self._start()

    def terminate(self) -> None:
        """End the server gracefully. Blocks until it has ended, for at most 10 s."""
        self._current().process.stop()

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would. Blocks until it has ended."""
        os.kill(self.pid, signal.SIGKILL)
        self._current().process.join()

    def pause(self) -> None:
        """Stop the server's clock (SIGSTOP): its connections stay open and nothing answers.

        Blocks until the server stands still, where that can be seen (in `/proc`): on a busy machine that takes a while.
        """
        os.kill(self.pid, signal.SIGSTOP)
        while not _stands_still(self.pid):
            time.sleep(0.001)

    def resume(self) -> None:
        """End a `pause()`."""
        os.kill(self.pid, signal.SIGCONT)

    def _current(self) -> _Run:
        if self._run is None:
            raise ClosedError("embedded server")
        return self._run

    async def _start(self) -> None:
        run = self._current()
        self._pid = None
        async with run.files.lock() as lock:
            log_begin = self._launch(run, lock.fileno())
        try:
            async with asyncio.timeout(START_TIMEOUT):
                self._pid, self.port = await self._ready(run, log_begin)
        except TimeoutError:
            last_words = (run.files.log_since(log_begin).splitlines() or ["nothing"])[-1]
            raise EmbeddedServerError(
                f"not ready within {START_TIMEOUT:g} s; its log ends with {last_words!r}"
            ) from None

    def _launch(self, run: _Run, lock: int) -> int:
        """Start the process; returns where in the log its part begins."""
        run.files.forget_address()
        with run.files.log.open("ab") as log:
            log_begin = log.tell()
            run.process.start(self._command(run.files), log=log, keep_open=lock)
        return log_begin

    def _command(self, files: Store) -> list[str]:
        # Options of the command line win over the configuration file.
        directory = str(files.directory)
        command = [str(find_binary()), "--addr", HOST, "--port", str(self.port or -1), "--name", self.name]
        command += ["--jetstream", "--store_dir", directory, "--ports_file_dir", directory]
        if self.extra_config:
            command += ["--config", str(files.write_config(self.extra_config))]
        return command

    async def _ready(self, run: _Run, log_begin: int) -> tuple[int, int]:
        """The pid and the port, once clients can connect and JetStream answers."""
        while (address := run.files.address()) is None or not await _has_jetstream(address[1]):
            if not run.process.alive:
                raise EmbeddedServerError(reason_in(run.files.log_since(log_begin), self.port))
            await asyncio.sleep(_READY_POLL)
        return address


async def _has_jetstream(port: int) -> bool:
    """Whether a server answers with JetStream ready: its first line is `INFO {"jetstream": true, ...}`."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    try:
        line = await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
    return line.startswith(b"INFO ") and bool(json.loads(line[5:]).get("jetstream"))


def _stands_still(pid: int) -> bool:
    """Whether every thread of a process has stopped or ended. Where there is no `/proc`, yes."""
    return all(_state_of(status) in "TZX" for status in Path(f"/proc/{pid}/task").glob("*/stat"))


def _state_of(status: Path) -> str:
    """The letter for what a thread does, from its line `pid (name) LETTER ...`; empty for one that has ended."""
    try:
        return status.read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
