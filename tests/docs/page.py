"""Runs the code of a documentation page as its reader would."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from attrs import frozen

__all__ = ["Block", "blocks_of", "run_page"]

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"\A# ([\w./-]+\.(?:py|yml|yaml))\n")


@frozen
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that the block's first line names: it is written instead of run."""
        named = _FILE.match(self.text)
        return named[1] if named else None


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    return [Block(found[1], found[2], text.count("\n", 0, found.start()) + 2) for found in _FENCE.finditer(text)]


async def run_page(page: Path, folder: Path) -> None:
    """Run a page's Python blocks one after another in one module, in `folder`.

    A block whose first line is a comment with a file's name is that file. A `text` block is what the code since the
    last one printed.
    """
    module = ModuleType("__main__")
    printed = io.StringIO()
    for block in blocks_of(page):
        if block.file is not None:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "python":
            with contextlib.redirect_stdout(printed):
                await _run(_compiled(page, block), vars(module))
        elif block.language == "text":
            assert printed.getvalue() == block.text, f"{page.name}:{block.line}"
            printed = io.StringIO()


def _compiled(page: Path, block: Block) -> CodeType:
    """Tracebacks show the page's own lines."""
    source = "\n" * (block.line - 1) + block.text
    return compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


async def _run(code: CodeType, names: dict[str, Any]) -> None:
    result = eval(code, names)  # noqa: S307 - the page's own code
    if inspect.isawaitable(result):
        await result
