"""`callboard run` with several worker processes; what they handle is published once all of them are ready."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks.asking import send_all
from benchmarks.journal import count, figures_of, read
from benchmarks.work import Figures, Work
from callboard import connect

__all__ = ["run"]

SERVICE = "benchmarks.contenders.callboard.service"
POLL = 0.05
IN_FLIGHT = 256


async def run(work: Work) -> Figures:
    """`actor` and `workers` are options. Whoever publishes does it as fast as it can, from this process."""
    with TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        async with _supervisor(work, journal, Path(folder) / "log"):
            await _publish(work)
            until = monotonic() + work.patience
            while count(journal) < work.messages and monotonic() < until:
                await asyncio.sleep(POLL)
        return figures_of(read(journal), work.messages)


async def _publish(work: Work) -> None:
    async with connect(work.url) as board:

        async def send(_number: int, content: dict[str, object]) -> None:
            await board.publish(work.topic, content)

        await send_all(IN_FLIGHT, work.contents(), send)


@asynccontextmanager
async def _supervisor(work: Work, journal: Path, log: Path) -> AsyncGenerator[None]:
    """Running inside the block, with all its workers ready."""
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "callboard", "run", f"{SERVICE}:{work.options['actor']}"),
            *("--workers", str(work.number("workers")), "--nats", work.url, "--name", work.stream.lower()),
            env={**os.environ, "BENCH_TOPIC": work.topic, "BENCH_JOURNAL": str(journal)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    try:
        while log.read_text().count("worker ready (pid ") < work.number("workers"):
            if process.returncode is not None:
                raise RuntimeError(f"callboard run ended: {log.read_text()[-500:]}")
            await asyncio.sleep(POLL)
        yield
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()
