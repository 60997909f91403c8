"""What several commands read from the command line."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from callboard.brokers.wire import check_headers
from callboard.codec import JSON
from callboard.errors import ContentDecodeError

__all__ = [
    "ConfigFile",
    "Content",
    "Headers",
    "Name",
    "Nats",
    "Targets",
    "Topic",
    "read_content",
    "read_headers",
    "seconds_of",
    "show",
]

Nats = Annotated[
    str | None,
    typer.Option(
        "--nats",
        metavar="URL",
        help="Server addresses, comma-separated, or context:NAME of the command 'nats' [default: NATS_URL, "
        "NATS_CONTEXT, or nats://127.0.0.1:4222]",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET",
        help="module, or module:Name of an actor or Supervisor [default: 'services' in the --config file]",
        show_default=False,
    ),
]
Name = Annotated[str | None, typer.Option("--name", help="Name of the service [default: the module's last part]")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings (YAML)")]
Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="Where the message goes, for example user.create")]
Content = Annotated[
    str | None,
    typer.Argument(
        metavar="JSON|-",
        help="The content; '-' reads it from standard input [default: null]",
        show_default=False,
    ),
]
Headers = Annotated[
    list[str] | None, typer.Option("--header", "-H", metavar="NAME=VALUE", help="A header; may be repeated")
]


def read_content(text: str | None) -> Any:
    """The content as plain values. Wrong JSON is wrong use."""
    if text is None:
        return None
    source = sys.stdin.buffer.read() if text == "-" else os.fsencode(text)
    try:
        return JSON.decode(source)
    except ContentDecodeError as error:
        shown = source[:60].decode(errors="replace")
        raise typer.BadParameter(f"the content is no JSON: {error} (in {shown!r})") from error


def read_headers(pairs: list[str] | None) -> dict[str, str]:
    """Headers from `name=value` pairs. Raises `HeaderError`."""
    headers: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"--header takes name=value, not {pair!r}")
        headers[name] = value
    return check_headers(headers, JSON.content_type)


def seconds_of(text: str, option: str) -> float:
    """A duration such as `45s`, `10m`, `2h` or `3d` in seconds. Anything else is wrong use."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if found is None:
        raise typer.BadParameter(f"{option} takes a number and a unit, as in 45s, 10m, 2h or 3d; not {text!r}")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]


def show(content: Any) -> None:
    """Print content as JSON."""
    sys.stdout.write(
        msgspec.json.format(JSON.encode(content), indent=0 if not sys.stdout.isatty() else 2).decode() + "\n"
    )
