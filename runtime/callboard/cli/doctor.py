"""`callboard doctor`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import msgspec
import typer
from attrs import asdict

from callboard.brokers.transport import Topology
from callboard.cli.argument import ConfigFile, Name, Nats, Targets
from callboard.config import Config
from callboard.jetstream.examination import Finding, Grade, examine
from callboard.system.assembly import assemble

__all__ = ["doctor"]

WRONG = 1
"""Exit code: something is wrong."""


def doctor(
    targets: Targets = None,
    name: Name = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document for each finding")] = False,  # noqa: FBT002
    config: ConfigFile = None,
    nats: Nats = None,
) -> None:
    """Look for what is wrong, and say what to do.

    Looks at server, JetStream, permissions, durability, clocks and dead letters, with targets also at drift and
    orphans. Changes nothing.

    Example: callboard doctor shop --nats nats://127.0.0.1:4222

    Exit codes: 0 nothing is wrong, 1 something is, 2 wrong use.
    """
    settings = Config(config, nats=nats, name=name)
    topology = assemble(targets or [], settings).topology if targets or settings.services else None
    if asyncio.run(_doctor(settings, topology, json=json)):
        raise typer.Exit(WRONG)


async def _doctor(settings: Config, topology: Topology | None, *, json: bool) -> bool:
    """Whether something is wrong."""
    wrong = False
    async for finding in examine(settings, topology):
        wrong = wrong or finding.grade is Grade.WRONG
        _print(finding, json=json)
    return wrong


def _print(finding: Finding, *, json: bool) -> None:
    if json:
        sys.stdout.write(msgspec.json.encode(asdict(finding)).decode() + "\n")
        return
    typer.echo(f"{finding.grade.value:<6}{finding.subject}: {finding.what}")
    if finding.remedy:
        typer.echo(f"      -> {finding.remedy}")
