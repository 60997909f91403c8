"""Dead letters on paper: a table, a page, or JSON.

What other clients sent is printed with escapes instead of control characters: it could tell a terminal to do things.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from callboard.brokers.letter import StoredLetter
from callboard.brokers.wire import format_time

__all__ = ["everything_of", "facts_of", "print_json", "print_letter", "print_table"]

PAGE_WIDTH = 200
"""Columns of a table that goes to a file or pipe."""
BRIEF = 80
"""Characters of an error's text in the table."""


def facts_of(letter: StoredLetter) -> dict[str, Any]:
    """What there is to know without the message itself."""
    return {
        "seq": letter.sequence,
        "died": format_time(letter.at),
        "actor": letter.actor,
        "topic": letter.topic,
        "identifier": str(letter.identifier),
        "stream": letter.stream,
        "stream_sequence": letter.stream_sequence,
        "durable": letter.durable,
        "attempts": letter.attempts,
        "error": letter.error_type,
        "message": letter.error_message,
        "trace_id": letter.trace_id,
        "left_out": sorted(letter.left_out),
    }


def everything_of(letter: StoredLetter) -> dict[str, Any]:
    """With traceback, headers and body; `body_encoding` is `text` or `base64`."""
    body, encoding = _body(letter.body)
    message = {"headers": dict(letter.headers), "body": body, "body_encoding": encoding}
    return facts_of(letter) | {"traceback": letter.traceback} | message


def print_json(facts: dict[str, Any]) -> None:
    """One document on one line."""
    sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")


def print_table(letters: Iterable[StoredLetter]) -> None:
    """A line each."""
    table = Table("seq", "died", "actor", "topic", "attempts", "error", "", box=None, pad_edge=False)
    for letter in letters:
        row = (letter.actor, letter.topic, letter.attempts, letter.error_type, _brief(letter.error_message))
        table.add_row(str(letter.sequence), f"{letter.at:%Y-%m-%d %H:%M:%S}", *(_plain(str(value)) for value in row))
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else PAGE_WIDTH, markup=False, highlight=False).print(table)


def print_letter(letter: StoredLetter) -> None:
    """A page with everything."""
    facts = facts_of(letter) | {"left_out": ", ".join(sorted(letter.left_out))}
    for name, value in facts.items():
        typer.echo(_plain(f"{name}: {value}"))
    typer.echo("\nheaders:")
    for name, value in letter.headers.items():
        typer.echo(_plain(f"  {name}: {value}"))
    typer.echo(f"\ntraceback:\n{_plain(letter.traceback) or '(none)'}")
    body, encoding = _body(letter.body)
    typer.echo(f"\nbody ({encoding}, {len(letter.body)} bytes):\n{body}")


def _body(body: bytes) -> tuple[str, str]:
    """What can be printed, and how it is written."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return b64encode(body).decode(), "base64"
    return (text, "text") if text == _plain(text) else (b64encode(body).decode(), "base64")


def _brief(text: str) -> str:
    return text.split("\n", maxsplit=1)[0][:BRIEF]


def _plain(text: str) -> str:
    """With escapes for what no printer shows, but for line ends and tabs."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )
