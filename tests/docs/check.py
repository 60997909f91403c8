"""Which test proves which check: `python -m tests.docs.check` prints the table."""

# ruff: noqa: T201 - a program

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attrs import frozen

__all__ = ["CHECKS", "Proof", "proofs"]

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "tests", ROOT / "runtime" / "callboard" / "testing")
CHECKS = (*(f"C{number:02}" for number in range(1, 49)), *(f"S{number:02}" for number in range(1, 19)))
"""Behaviour of the seed's API that stays (C), and where its framework broke its promise (S)."""

_NUMBER = re.compile(r"\b[CS]\d\d\b")


@frozen
class Proof:
    """A test whose docstring begins with the numbers of the checks that it proves."""

    check: str
    file: Path
    """Below the repository."""
    test: str


@cache
def proofs() -> tuple[Proof, ...]:
    """All of them, by check."""
    files = (file for folder in FOLDERS for file in folder.rglob("*.py"))
    found = (proof for file in files for proof in _of(file))
    return tuple(sorted(found, key=lambda proof: (proof.check, str(proof.file), proof.test)))


def _of(file: Path) -> Iterator[Proof]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for number in _NUMBER.findall(ast.get_docstring(node) or ""):
                yield Proof(number, file.relative_to(ROOT), node.name)


def main() -> None:
    """A table in Markdown."""
    print("| check | test | in |\n|---|---|---|")
    for proof in proofs():
        print(f"| {proof.check} | {proof.test} | {proof.file} |")


if __name__ == "__main__":
    main()
