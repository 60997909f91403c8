"""`callboard run`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from callboard.cli.argument import ConfigFile, Name, Nats, Targets
from callboard.config import Config, LogFormat
from callboard.system.log import configure_logging
from callboard.system.parent import Embedded, Parent

__all__ = ["run"]


def run(  # noqa: PLR0913, PLR0917 - the options of the command
    targets: Targets = None,
    nats: Nats = None,
    name: Name = None,
    embedded: Annotated[bool, typer.Option("--embedded", help="Run a NATS server too")] = False,  # noqa: FBT002
    store: Annotated[
        Path | None,
        typer.Option("--store", help="Folder of the embedded server's data [default: a temporary one]"),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the embedded server")] = 4222,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes [default: 1]")] = None,
    grace: Annotated[
        float | None,
        typer.Option("--grace", min=0, help="Seconds for running handlers at a stop [default: 30]"),
    ] = None,
    config: ConfigFile = None,
    metrics_port: Annotated[
        int | None,
        typer.Option("--metrics-port", min=0, max=65535, help="Answer /metrics for Prometheus there (0: a free port)"),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            "--health-port", min=0, max=65535, help="Answer /live, /ready and /startup there (0: a free port)"
        ),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", help="debug, info, warning or error [default: info]")
    ] = None,
    log_format: Annotated[
        LogFormat | None,
        typer.Option("--log-format", help="Lines for people or JSON [default: auto, by whether this is a terminal]"),
    ] = None,
) -> None:
    """Run actors until Ctrl-C or SIGTERM, then drain.

    A second signal shortens the grace period to 2 s, a third ends at once.

    A worker process that dies is replaced, however often; one that keeps dying while it runs nothing, after a growing
    pause of up to 30 s. What it ran is taken over.

    Example: callboard run shop.orders shop.kitchen:Kitchen --name shop --workers 2

    Exit codes: 0 stopped, 1 the first worker failed, 2 wrong use, 3 no server, 5 the server refuses the credentials or
    a permission, or contradicts the declarations, 70 an essential actor failed for good. Once a worker was ready, only
    70 and the end of the embedded server (3) end the run by themselves.
    """
    if embedded and nats is not None:
        raise typer.BadParameter("--embedded runs a server of its own; leave out --nats")
    if store is not None and not embedded:
        raise typer.BadParameter("--store belongs to --embedded")
    settings = Config(
        config,
        nats=nats,
        name=name,
        workers=workers,
        grace=grace,
        metrics=metrics_port,
        health=health_port,
        log_level=log_level,
        log_format=log_format,
    )
    if not targets and not settings.services:
        raise typer.BadParameter("nothing to run; give a TARGET, or name 'services' in a --config file")
    configure_logging(settings.log_level, settings.log_format)
    parent = Parent(targets or [], settings, Embedded(store, port) if embedded else None)
    code = asyncio.run(parent.run())
    if code:
        raise typer.Exit(code)
