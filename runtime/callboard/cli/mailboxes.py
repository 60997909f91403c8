"""`callboard mailboxes`, `callboard pause` and `callboard resume`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from math import isinf
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from attrs import asdict
from rich.console import Console
from rich.live import Live
from rich.table import Table

from callboard.cli.argument import Nats, seconds_of
from callboard.config import Config
from callboard.errors import did_you_mean
from callboard.jetstream.overview import MailboxView, Overview, overview_of

__all__ = ["mailboxes", "pause", "resume"]

LOOK = 1.0
"""Seconds between the two looks that a rate is taken from."""
PAGE_WIDTH = 200
"""Columns of a table that goes to a file or pipe."""

File = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings (YAML): where the server is")]
ActorName = Annotated[str, typer.Argument(metavar="ACTOR", help="Name of an actor, as 'callboard mailboxes' shows it")]


def mailboxes(
    actor: Annotated[str | None, typer.Option("--actor", help="Only those of this actor")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Redraw until Ctrl-C")] = False,  # noqa: FBT002
    every: Annotated[
        float, typer.Option("--every", min=0.1, metavar="SECONDS", help="Between two looks with --watch")
    ] = 2.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON document for each look; times are seconds")] = False,  # noqa: FBT002
    config: File = None,
    nats: Nats = None,
) -> None:
    """Show what waits in every mailbox, and who reads.

    LAG waits for a worker; IN PROGRESS was handed to one and is not settled, delayed retries included; RATE is
    deliveries a second. STATE is idle, working, paused, or nobody: no worker asks for messages.

    Example: callboard mailboxes --watch

    Exit codes: 0 shown, 2 wrong use, 3 no server, 5 refused by the server.
    """
    asyncio.run(_mailboxes(Config(config, nats=nats), actor, every if watch else None, json=json))


async def _mailboxes(config: Config, actor: str | None, every: float | None, *, json: bool) -> None:
    async with overview_of(config) as overview:
        await overview.look()
        if every is None or json:
            while True:
                await asyncio.sleep(every or LOOK)
                _show(await _look(overview, actor), json=json)
                if every is None:
                    return
        with Live(console=_console(), screen=sys.stdout.isatty(), auto_refresh=False) as live:
            while True:
                await asyncio.sleep(every)
                live.update(_table(await _look(overview, actor)), refresh=True)


async def _look(overview: Overview, actor: str | None) -> Sequence[MailboxView]:
    views = await overview.look()
    return views if actor is None else [view for view in views if view.actor == actor]


def pause(
    actor: ActorName,
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="For how long: 45s, 10m, 2h, 3d [default: until 'resume']"),
    ] = None,
    config: File = None,
    nats: Nats = None,
) -> None:
    """Have an actor's mailboxes hand out no more messages.

    What runs goes on, what comes waits in its stream. The server keeps the pause, through restarts of everything.

    Example: callboard pause Rebooking --for 10m

    Exit codes: 0 paused, 2 no such actor, 3 no server, 5 refused by the server.
    """
    seconds = None if duration is None else seconds_of(duration, "--for")
    views = asyncio.run(_set(Config(config, nats=nats), actor, seconds, paused=True))
    for view in views:
        typer.echo(f"paused {', '.join(view.topics)} ({view.durable}){'' if duration is None else f' for {duration}'}")


def resume(actor: ActorName, config: File = None, nats: Nats = None) -> None:
    """End a 'callboard pause'.

    Example: callboard resume Rebooking

    Exit codes: 0 resumed, 2 no such actor, 3 no server, 5 refused by the server.
    """
    for view in asyncio.run(_set(Config(config, nats=nats), actor, None, paused=False)):
        typer.echo(f"resumed {', '.join(view.topics)} ({view.durable})")


async def _set(config: Config, actor: str, seconds: float | None, *, paused: bool) -> Sequence[MailboxView]:
    async with overview_of(config) as overview:
        views = await (overview.pause(actor, seconds) if paused else overview.resume(actor))
        if not views:
            known = sorted({view.actor for view in await overview.look()})
            raise typer.BadParameter(
                f"no actor {actor!r} has a mailbox on this server{did_you_mean(actor, known)}"
                f" (known: {', '.join(known) or 'none'})"
            )
        return views


def _show(views: Sequence[MailboxView], *, json: bool) -> None:
    if json:
        sys.stdout.write(msgspec.json.encode({"mailboxes": [_fields(view) for view in views]}).decode() + "\n")
        sys.stdout.flush()
        return
    if not views:
        typer.echo("no mailboxes")
        return
    _console().print(_table(views))


def _fields(view: MailboxView) -> dict[str, Any]:
    fields = asdict(view) | {"state": view.state}
    if isinf(view.paused_for):
        fields["paused_for"] = None  # JSON has no infinity; the state says that it is paused
    return fields


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PAGE_WIDTH, markup=False, highlight=False)


def _table(views: Sequence[MailboxView]) -> Table:
    table = Table("SERVICE", "ACTOR", "TOPIC", box=None, pad_edge=False)
    for name in ("LAG", "IN PROGRESS", "REDELIVERED", "OLDEST", "RATE"):
        table.add_column(name, justify="right")
    table.add_column("STATE")
    for view in views:
        numbers = (view.lag, view.in_progress, view.redelivered)
        oldest = _duration(view.oldest) if view.oldest else ""
        table.add_row(
            *(view.service, view.actor, ", ".join(view.topics)),
            *map(str, numbers),
            *(oldest, f"{view.rate:.1f}", _state(view)),
        )
    return table


def _state(view: MailboxView) -> str:
    if view.state != "paused" or isinf(view.paused_for):
        return view.state
    return f"paused for {_duration(view.paused_for)}"


def _duration(seconds: float) -> str:
    for limit, unit, size in ((120, "s", 1), (7200, "m", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 86_400:.0f}d"
