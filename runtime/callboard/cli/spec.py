"""`callboard spec`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import yaml

from callboard.asyncapi import asyncapi_document, asyncapi_page
from callboard.cli.argument import ConfigFile, Name, Targets
from callboard.config import Config
from callboard.system.assembly import assemble

__all__ = ["spec"]


def spec(
    targets: Targets = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page for people there, and print nothing"),
    ] = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print YAML instead of JSON")] = False,  # noqa: FBT002
    api_version: Annotated[
        str | None,
        typer.Option(
            "--api-version",
            metavar="TEXT",
            help="Version of what is described [default: that of the package that holds the actors, else 0.0.0]",
        ),
    ] = None,
    name: Name = None,
    config: ConfigFile = None,
    nats: Annotated[
        str | None,
        typer.Option(
            "--nats",
            metavar="URL",
            help="Server addresses to name in the document, without their secrets, comma-separated "
            "[default: NATS_URL; none when nothing is said]",
        ),
    ] = None,
) -> None:
    """Print an AsyncAPI 3 document of actors.

    It says what they receive, answer and send, with JSON Schemas of the content. Needs no server. The same code gives
    the same bytes.

    Example: callboard spec shop --html shop.html

    Exit codes: 0 printed or written, 2 wrong use, or a type that content cannot carry.
    """
    if html is not None and as_yaml:
        raise typer.BadParameter("--html writes a page, and --yaml is for the document; give one of them")
    settings = Config(config, nats=nats, name=name)
    if not targets and not settings.services:
        raise typer.BadParameter("nothing to describe; give a TARGET, or name 'services' in a --config file")
    system = assemble(targets or [], settings)
    document = asyncapi_document(system.declarations, servers=settings.nats.servers, api_version=api_version)
    if html is None:
        sys.stdout.write(_yaml(document) if as_yaml else _json(document))
        return
    try:
        html.write_text(asyncapi_page(document), encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"--html: {html} cannot be written: {error.strerror}") from error


def _json(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _yaml(document: dict[str, Any]) -> str:
    # A copy: of what stands in a document twice, YAML would write one as a reference to the other.
    copy = msgspec.json.decode(msgspec.json.encode(document))
    return yaml.dump(copy, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they stand."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)  # pyright: ignore[reportUnknownMemberType]


_Dumper.add_representer(str, _text)
