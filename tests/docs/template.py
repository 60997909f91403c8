"""Texts that the code can write: log lines, errors, findings. What a page quotes has to be one of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attrs import frozen

__all__ = ["LogCall", "Template", "explained", "log_calls", "texts"]

RUNTIME = Path(__file__).parents[2] / "runtime" / "callboard"
FEW = 5
"""Words of a placeholder that may be data: a name, a number, the text of an example's own exception."""

_CONVERSION = re.compile(r"%(?:%|[-+ 0#]*\d*(?:\.\d+)?[diufgrs])")
_NUMBERS = {"d": r"(-?\d+)", "f": r"(-?[\d.]+)", "g": r"(-?[\d.e+-]+)"}
_ANYTHING = "(.*?)"
_SUBJECT = re.compile(r"(?:stream|durable) '[^']*':? ")
"""What stands before the rule in a `Difference` and a `TopologyError`."""


@frozen
class Template:
    """A text with placeholders."""

    lazy: re.Pattern[str]
    greedy: re.Pattern[str]

    @classmethod
    def of(cls, pattern: str) -> Template:
        """Of a pattern with a group for each placeholder."""
        return cls(re.compile(pattern, re.DOTALL), re.compile(pattern.replace(_ANYTHING, "(.*)"), re.DOTALL))

    def explains(self, text: str) -> bool:
        """Whether this is the text, and what stands in its placeholders is a text of the library too, or has a few
        words only. Where it could be read in several ways, two are tried."""
        matches = (pattern.fullmatch(text) for pattern in (self.lazy, self.greedy))
        return any(match is not None and all(map(explained, match.groups())) for match in matches)


@frozen
class LogCall:
    """A call of a logger."""

    logger: str
    level: str
    """Empty where it is decided when the line is written."""
    message: Template


@cache
def log_calls() -> tuple[LogCall, ...]:
    """All of the library's."""
    return tuple(call for tree in _modules() for call in _calls_of(tree))


@cache
def texts() -> tuple[Template, ...]:
    """All strings of the library."""
    return tuple(map(Template.of, sorted({pattern for tree in _modules() for pattern in _texts_of(tree)})))


@cache
def explained(text: str) -> bool:
    """Whether the code can write this."""
    subject = _SUBJECT.match(text)
    if subject is not None and explained(text[subject.end() :]):
        return True
    return len(text.split()) <= FEW or any(template.explains(text) for template in texts())


@cache
def _modules() -> tuple[ast.Module, ...]:
    return tuple(ast.parse(file.read_text()) for file in sorted(RUNTIME.rglob("*.py")))


def _calls_of(tree: ast.Module) -> Iterator[LogCall]:
    loggers = dict(_loggers_of(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method), args=args) if name in loggers:
                message = next((arg.value for arg in args if isinstance(arg, ast.Constant)), None)
                if isinstance(message, str):
                    level = {"log": "", "exception": "ERROR"}.get(method, method.upper())
                    yield LogCall(loggers[name], level, Template.of(_pattern_of(message)))
            case _:
                pass


def _loggers_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=variable)],
                value=ast.Call(func=ast.Attribute(attr="getLogger"), args=[ast.Constant(value=str(name))]),
            ):
                yield variable, name.removeprefix("callboard.")
            case _:
                pass


def _pattern_of(message: str) -> str:
    """Of a message with conversions, as logging takes it."""
    parts = (re.escape(part) for part in _CONVERSION.split(message))
    conversions = (_NUMBERS.get(found[-1], _ANYTHING) for found in _CONVERSION.findall(message))
    return "".join(part + conversion for part, conversion in zip(parts, [*conversions, ""], strict=True))


def _texts_of(tree: ast.Module) -> Iterator[str]:
    """Patterns of whole strings, f-strings included; of one that is placeholders only, nothing."""
    formatted = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    fragments = {id(part) for node in formatted for part in node.values}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(value)) if id(node) not in fragments and value.strip():
                yield re.escape(value)
            case ast.JoinedStr(values=values):
                parts = [part.value if isinstance(part, ast.Constant) else None for part in values]
                if any(isinstance(part, str) and part.strip() for part in parts):
                    yield "".join(re.escape(part) if isinstance(part, str) else _ANYTHING for part in parts)
            case _:
                pass
