"""The page about the command line shows what each command's `--help` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mkdocs.structure.pages import Page
from typer.main import get_command

from callboard.cli.app import app

__all__ = ["on_page_markdown", "sections"]

PAGE = "reference/command-line.md"
WIDTH = 88
"""Columns of the text, so that a page need not be scrolled sideways."""


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """The page, and behind it a section for each command."""
    return markdown if page.file.src_uri != PAGE else "\n".join([markdown, *sections(get_command(app), "callboard")])


def sections(command: Any, words: str) -> Iterator[str]:
    """What `--help` prints, of a command and of those below it."""
    with command.make_context(words, [], resilient_parsing=True, terminal_width=WIDTH) as context:
        yield f"## {words}\n\n```text\n{command.get_help(context)}\n```\n"
    for name, child in getattr(command, "commands", {}).items():
        yield from sections(child, f"{words} {name}")
