"""The reference application on a month of real flights, from an empty server to figures that must agree.

    python -m actors.demo           replay the month
    python -m actors.demo --kill    and kill the supervisor in the middle

Everything runs on this machine: a NATS server of its own, the supervisor as a separate process, and a small
collector for the traces of both. Exit code 0 says that every figure agrees with the file.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, cast

import typer
from rich.console import Console

import callboard
from actors.figures import Row, figures_of, read_rows
from actors.lag import open_lag
from actors.process import SupervisorProcess, stop_on_sigterm
from actors.replay import Replay
from actors.report import Outcome, checks, report
from actors.trace import cancelled_flight
from callboard.embedded import EmbeddedServer
from callboard.telemetry import configure_telemetry
from callboard.testing import SpanReceiver

__all__ = ["main"]

TIME_LIMIT = 150.0
"""Seconds for the whole run."""
SAMPLED = 0.05
"""Part of the flights that are traced."""
FLUSH = 5.0
"""Seconds for sending the last spans."""

console = Console()


def main(*, kill: Annotated[bool, typer.Option("--kill", help="Kill the supervisor in the middle.")] = False) -> None:
    """Replay a month of flights through the actors, and check what they say about it."""
    try:
        passed = asyncio.run(_run(kill=kill))
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None
    except Exception as error:  # noqa: BLE001 - by now everything is stopped; a person wants to know why
        console.print(f"[bold red]failed:[/] {_reason(error)}", highlight=False)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if passed else 1)


async def _run(*, kill: bool) -> bool:
    """Whether every figure agrees and a flight could be followed.

    Leaves no process and no file behind, however it ends.
    """
    stop_on_sigterm()
    rows = read_rows()
    with TemporaryDirectory(prefix="callboard-demo-") as folder, SpanReceiver() as receiver:
        os.environ.update(_tracing(receiver))
        telemetry = configure_telemetry("demo")
        try:
            async with asyncio.timeout(TIME_LIMIT):
                outcome = await _replay(rows, Path(folder), kill=kill)
        finally:
            telemetry.shutdown(FLUSH)
    results = checks(figures_of(rows), outcome)
    trace = cancelled_flight(receiver)
    console.print(report(results, outcome, trace))
    return bool(trace) and all(check.passed for check in results)


def _tracing(receiver: SpanReceiver) -> dict[str, str]:
    """What turns telemetry on, here and in the supervisor, which inherits the environment."""
    return {
        "OTEL_SDK_DISABLED": "false",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(SAMPLED),
        "NO_PROXY": "127.0.0.1",
    }


async def _replay(rows: Sequence[Row], folder: Path, *, kill: bool) -> Outcome:
    async with (
        EmbeddedServer(store=folder / "nats", port=0) as server,
        SupervisorProcess(server.url, folder) as supervisor,
        callboard.connect(server.url) as board,
        open_lag(server.url) as lag,
    ):
        return await Replay(rows, board, lag, supervisor, kill=kill).run(console)


def _reason(error: BaseException) -> str:
    """What a person wants to read; of several errors, the first."""
    if isinstance(error, BaseExceptionGroup):
        return _reason(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    if isinstance(error, TimeoutError) and not str(error):
        return f"not finished within {TIME_LIMIT:g} s"
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    typer.run(main)
