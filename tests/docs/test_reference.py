"""The reference has every public name, and each has something to say."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import callboard
import callboard.blocking
import callboard.errors
import callboard.testing
from tests.docs.page import blocks_of

DOCS = Path(__file__).parents[2] / "docs"
ENTRIES = sorted(
    entry
    for page in (DOCS / "reference" / "api").glob("*.md")
    for entry in re.findall(r"^::: ([\w.]+)$", page.read_text(), flags=re.MULTILINE)
)
MODULES = (callboard, callboard.blocking, callboard.errors, callboard.testing)
INTERNAL = {"did_you_mean"}


def named(path: str) -> Any:
    """What a dotted path stands for."""
    try:
        return import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(import_module(module), name)


def documented() -> Iterator[tuple[str, Any]]:
    """Dotted path and object of all that the reference has; of a module it has what the module exports."""
    for entry in ENTRIES:
        found = named(entry)
        names = [f"{entry}.{name}" for name in found.__all__] if isinstance(found, ModuleType) else [entry]
        yield from ((name, named(name)) for name in names)


DOCUMENTED = dict(documented())
NAMES = {path.rpartition(".")[2] for path in DOCUMENTED}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_public_names_are_in_the_reference(module: ModuleType) -> None:
    assert sorted(set(module.__all__) - NAMES - INTERNAL) == []


def test_what_the_pages_import_is_in_the_reference() -> None:
    imported = {
        name.name
        for page in DOCS.rglob("*.md")
        for block in blocks_of(page)
        if block.language == "python"
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "callboard"
        for name in node.names
    }
    assert sorted(imported - NAMES) == []
    assert len(imported) > 40


def test_each_entry_stands_once() -> None:
    assert len(set(ENTRIES)) == len(ENTRIES)


@cache
def described() -> frozenset[str]:
    """Names of the package that are assigned at the top of a module, with a text below."""
    trees = (ast.parse(file.read_text()) for file in Path(callboard.__file__).parent.rglob("*.py"))
    return frozenset(
        ast.unparse(target)
        for tree in trees
        for assigned, below in pairwise(tree.body)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        for target in assigned_by(assigned)
    )


def assigned_by(statement: ast.stmt) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []


@pytest.mark.parametrize("path", sorted(DOCUMENTED))
def test_entry_says_something(path: str) -> None:
    found = DOCUMENTED[path]
    own = found.__doc__ if inspect.isclass(found) or inspect.isroutine(found) else None
    assert (own or "").strip() or path.rpartition(".")[2] in described()
