"""`callboard topology`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from attrs import frozen
from rich.console import Console
from rich.table import Table

from callboard.brokers.transport import Topology
from callboard.cli.argument import ConfigFile, Name, Nats
from callboard.config import Config, import_name
from callboard.jetstream import JetStreamTransport
from callboard.jetstream.difference import Difference, Remedy
from callboard.jetstream.topology import Outcome, topology_of
from callboard.system.assembly import assemble
from callboard.system.exitcode import ExitCode

__all__ = ["app"]

DIFFERENT = 1
PAGE_WIDTH = 200
"""Columns of a table that goes to a file or pipe."""

app = typer.Typer(
    name="topology",
    help="What the code declares against what the server has.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET",
        help="As in 'callboard run': all that run under one name, or the others' durables seem to be left over "
        "[default: 'services' in the --config file]",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document; durations are seconds")]


@frozen
class _Question:
    """Which service against which server."""

    topology: Topology
    config: Config

    @classmethod
    def of(cls, targets: list[str] | None, nats: str | None, name: str | None, file: Path | None) -> _Question:
        config = Config(file, nats=nats, name=name)
        if not targets and not config.services:
            raise typer.BadParameter("nothing to compare; give a TARGET, or name 'services' in a --config file")
        transport: Any = import_name(config.transport, "'transport'")
        if not (isinstance(transport, type) and issubclass(transport, JetStreamTransport)):
            raise typer.BadParameter(f"only JetStream has a topology, and the transport is {config.transport!r}")
        return cls(assemble(targets or [], config).topology, config)

    async def differences(self) -> list[Difference]:
        async with topology_of(self.config) as topology:
            return await topology.plan(self.topology)

    async def apply(self, *, prune: bool, recreate: Sequence[str]) -> list[Outcome]:
        async with topology_of(self.config) as topology:
            return await topology.apply(self.topology, prune=prune, recreate=recreate)


@app.command()
def plan(
    targets: Targets = None,
    nats: Nats = None,
    name: Name = None,
    config: ConfigFile = None,
    json: Json = False,  # noqa: FBT002
) -> None:
    """Show what differs, and change nothing.

    Works while the service runs.

    Example: callboard topology plan shop --nats nats://127.0.0.1:4222

    Exit codes: 0 shown, 2 wrong use, 3 no server, 5 refused by the server.
    """
    _show(asyncio.run(_Question.of(targets, nats, name, config).differences()), json=json)


@app.command()
def check(
    targets: Targets = None,
    nats: Nats = None,
    name: Name = None,
    config: ConfigFile = None,
    json: Json = False,  # noqa: FBT002
) -> None:
    """Like plan, but fail when anything differs; for a pipeline.

    Example: callboard topology check shop --config config.yml

    Exit codes: 0 nothing differs, 1 something does, 2 wrong use, 3 no server, 5 refused by the server.
    """
    found = asyncio.run(_Question.of(targets, nats, name, config).differences())
    _show(found, json=json)
    if found:
        raise typer.Exit(DIFFERENT)


@app.command()
def apply(
    targets: Targets = None,
    nats: Nats = None,
    name: Name = None,
    config: ConfigFile = None,
    json: Json = False,  # noqa: FBT002
    prune: Annotated[bool, typer.Option("--prune", help="Also delete durables that nothing declares any more")] = False,  # noqa: FBT002
    recreate: Annotated[
        list[str] | None,
        typer.Option(
            "--recreate", metavar="STREAM", help="Create a lost stream again, without what was in it; may be repeated"
        ),
    ] = None,
) -> None:
    """Write what can be written, and say what was done.

    Also where 'streams.manage' keeps 'callboard run' from it. What is refused is left as it is.

    Example: callboard topology apply shop --recreate ORDERS

    Exit codes: 0 all done, 2 wrong use, 3 no server, 5 something is refused.
    """
    question = _Question.of(targets, nats, name, config)
    outcomes = asyncio.run(question.apply(prune=prune, recreate=recreate or []))
    if json:
        _print_json({"outcomes": [_fields(o.difference) | {"done": o.done, "reason": o.reason} for o in outcomes]})
    else:
        _print_outcomes(outcomes)
    if any(not outcome.done and outcome.difference.remedy is not Remedy.PRUNE for outcome in outcomes):
        raise typer.Exit(ExitCode.REFUSED)


def _show(found: Sequence[Difference], *, json: bool) -> None:
    if json:
        _print_json({"differences": [_fields(difference) for difference in found]})
    elif not found:
        typer.echo("the server is as the code says")
    else:
        table = Table("", "", "name", "stream", "field", "server", "code", "note", box=None, pad_edge=False)
        for it in found:
            values = (it.field, it.server, it.code) if it.field else ("", "", "")
            table.add_row(it.remedy.value, it.kind, it.name, it.stream, *map(str, values), it.note)
        Console(width=None if sys.stdout.isatty() else PAGE_WIDTH, markup=False, highlight=False).print(table)


def _print_outcomes(outcomes: Sequence[Outcome]) -> None:
    if not outcomes:
        typer.echo("the server is as the code says")
    for outcome in outcomes:
        difference = outcome.difference
        if outcome.done:
            typer.echo(f"{_DONE[difference.remedy]} {_said(difference)}")
        elif difference.remedy is Remedy.PRUNE:
            typer.echo(f"kept {difference}; {outcome.reason}")
        else:
            typer.echo(f"refused {difference.what}: {outcome.reason}")


_DONE = {Remedy.CREATE: "created", Remedy.CHANGE: "changed", Remedy.PRUNE: "deleted", Remedy.REFUSE: "refused"}


def _said(difference: Difference) -> str:
    """What was done, in a line."""
    if difference.field:
        return f"{difference.what}: {difference.field}={difference.server!r} -> {difference.code!r}"
    return f"{difference.what}: {difference.note}" if difference.note else difference.what


def _fields(difference: Difference) -> dict[str, Any]:
    names = ("kind", "name", "stream", "field", "server", "code", "note")
    return {"remedy": difference.remedy.value, **{name: getattr(difference, name) for name in names}}


def _print_json(document: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
