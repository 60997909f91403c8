"""`callboard permissions`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import typer

from callboard.cli.argument import ConfigFile, Name, Targets
from callboard.config import Config
from callboard.jetstream.permission import ANY_TOPIC, Operation, Permission, permissions_of
from callboard.system.assembly import assemble

__all__ = ["permissions"]

HEAD = """\
# What {services} needs, as 'callboard permissions' prints it: for one user of a NATS server's configuration.
# Streams are those that Callboard makes; map topics that other streams hold in 'streams.topics'.
"""
REPLIES = """\
# Answers to topics are not in it, because 'replies.topics' allows all: list them there.
"""


def permissions(
    targets: Targets = None,
    name: Name = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document")] = False,  # noqa: FBT002
    config: ConfigFile = None,
) -> None:
    """Print the least permissions that a service needs.

    Name all targets that run under one user. What is printed is a part of a NATS server's configuration, to be pasted
    or included into a user: { user: shop, password: $SHOP, include shop.conf }. Asks no server.

    The configuration counts: with 'streams.manage: verify' the service makes nothing, and 'replies' says where answers
    go. What handlers publish to or ask must stand in their actor's 'publishes'.

    Example: callboard permissions shop --config config.yml

    Exit codes: 0 printed, 2 wrong use.
    """
    settings = Config(config, name=name)
    if not targets and not settings.services:
        raise typer.BadParameter("nothing to look at; give a TARGET, or name 'services' in a --config file")
    found = permissions_of(assemble(targets or [], settings).topology, settings)
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(_document(found)), indent=2).decode() + "\n")
        return
    sys.stdout.write(HEAD.format(services=" ".join(targets or settings.services)))
    if settings.replies.topics == ANY_TOPIC:
        sys.stdout.write(REPLIES)
    sys.stdout.write("\n".join(_lines(found)) + "\n")


def _document(found: Sequence[Permission]) -> dict[str, object]:
    """As the server's configuration has it, which is a superset of JSON, and the subjects that are optional."""
    allowed = {
        operation.value: {"allow": [s for each in found if each.operation is operation for s in each.subjects]}
        for operation in Operation
    }
    return {"permissions": allowed, "optional": [s for each in found if each.optional for s in each.subjects]}


def _lines(found: Sequence[Permission]) -> Iterator[str]:
    yield "permissions: {"
    for operation in Operation:
        yield f"  {operation.value}: {{ allow: ["
        for each in found:
            if each.operation is operation:
                yield f"    # {each.purpose}"
                yield from (f'    "{subject}"' for subject in each.subjects)
        yield "  ] }"
    yield "}"
