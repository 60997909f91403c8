"""The directory of an embedded server: its data, its log, its configuration and its lock."""

from __future__ import annotations

import asyncio
import fcntl
import json
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Self

from attrs import frozen

from callboard.embedded.failure import EmbeddedServerError

__all__ = ["Store"]

LOCK_TIMEOUT = 1.0
"""Seconds that a start waits for the lock: a server whose users were just killed needs a moment to end."""

_LOCK = "callboard.lock"
_LOCK_POLL = 0.01


@frozen
class Store:
    """The files of one embedded server. NATS keeps the messages in `jetstream/`."""

    directory: Path
    temporary: bool

    @classmethod
    def at(cls, directory: Path | None) -> Self:
        """Use this directory; it is created, for this user only, when missing. None makes a temporary one."""
        if directory is None:
            return cls(Path(tempfile.mkdtemp(prefix="callboard-")), temporary=True)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            (directory / _LOCK).touch()
        except OSError as error:
            raise EmbeddedServerError(f"store {str(directory)!r}: {error.strerror}; choose another one") from error
        return cls(directory.absolute(), temporary=False)

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    def log_since(self, begin: int) -> str:
        """What the log holds from the byte `begin` on."""
        return self.log.read_bytes()[begin:].decode(errors="replace")

    @asynccontextmanager
    async def lock(self) -> AsyncGenerator[IO[bytes]]:
        """Take the lock of this store. It stays taken while any process holds the given file's descriptor.

        Needed because NATS lets two servers write to one store. Measured with nats-server 2.15.
        """
        with (self.directory / _LOCK).open("wb") as file:
            try:
                async with asyncio.timeout(LOCK_TIMEOUT):
                    while not _locked(file):  # noqa: ASYNC110 - its holder is another process
                        await asyncio.sleep(_LOCK_POLL)
            except TimeoutError:
                raise EmbeddedServerError(
                    f"store {str(self.directory)!r} is in use by another embedded server; "
                    "connect to that one, or choose another store"
                ) from None
            yield file

    def write_config(self, text: str) -> Path:
        """Write the server's configuration, readable for this user only: it may hold passwords."""
        path = self.directory / "server.conf"
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def forget_address(self) -> None:
        """Remove what a killed server left, before the next one starts."""
        for path in self.directory.glob("*.ports"):
            path.unlink()

    def address(self) -> tuple[int, int] | None:
        """The pid and the port of the server as it wrote them, or None before it listens.

        The file is `nats-server_<pid>.ports` and holds `{"nats": ["nats://127.0.0.1:4222"]}`.
        """
        for path in self.directory.glob("*.ports"):
            try:
                (url,) = json.loads(path.read_bytes())["nats"]
            except ValueError:  # still being written
                return None
            return int(path.stem.rpartition("_")[2]), int(url.rpartition(":")[2])
        return None

    def remove(self) -> None:
        """Delete the directory if it was a temporary one."""
        if self.temporary:
            shutil.rmtree(self.directory)


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
