"""One run of a contender in a fresh process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from attrs import asdict

from benchmarks.work import Figures, Work

__all__ = ["ROOT", "ContenderError", "run_contender"]

ROOT = Path(__file__).parent.parent
ENDS = 60.0
"""Seconds for start and end, beside a work's own patience."""


class ContenderError(Exception):
    """A contender did not come to its end."""


async def run_contender(program: str, work: Work, *, python: str = sys.executable, profile: str = "") -> Figures:
    """Run it and return its figures. Raises `ContenderError` with the end of what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(python, "-m", "benchmarks.contenders", program, json.dumps(asdict(work))),
        *(("--profile", profile) if profile else ()),
        cwd=ROOT,
        env=_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(work.patience + ENDS):
            out, err = await process.communicate()
    except TimeoutError:
        raise ContenderError(f"{program} did not end within {work.patience + ENDS:g} s") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise ContenderError(f"{program} ended with code {process.returncode}: {_last_line(err)}")
    figures: Figures = json.loads(_last_line(out))
    return figures


def _environment() -> dict[str, str]:
    """Ours without what would configure telemetry or a server for them."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "NATS_", "CALLBOARD_"))}


def _last_line(output: bytes) -> str:
    return (output.decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
