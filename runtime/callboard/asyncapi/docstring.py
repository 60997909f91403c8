"""What people wrote about their classes, fields and handlers."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from itertools import pairwise
from textwrap import dedent
from typing import Any

__all__ = ["doc_of", "field_docs", "split"]


def doc_of(target: Any) -> str:
    """The docstring of a class, function or module itself, not one that is inherited; empty when there is none."""
    text = target.__dict__.get("__doc__") if inspect.isclass(target) else target.__doc__
    if not isinstance(text, str) or _is_generated(target, text):
        return ""
    return inspect.cleandoc(text)


def split(doc: str) -> tuple[str, str]:
    """The first paragraph in one line, and the rest."""
    first, _, rest = doc.partition("\n\n")
    return " ".join(first.split()), rest.strip()


def field_docs(cls: type) -> Mapping[str, str]:
    """The texts that stand under the fields of a class and its bases, by field; none where there is no source."""
    return {name: doc for base in reversed(cls.__mro__[:-1]) for name, doc in _own_field_docs(base)}


def _is_generated(target: Any, text: str) -> bool:
    """dataclasses write the signature where nothing else is said."""
    return inspect.isclass(target) and text.startswith(f"{target.__name__}(")


def _own_field_docs(cls: type) -> Iterator[tuple[str, str]]:
    try:
        [tree] = ast.parse(dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return
    if not isinstance(tree, ast.ClassDef):
        return
    for statement, following in pairwise(tree.body):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
            case _:
                pass
