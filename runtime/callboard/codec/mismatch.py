"""A value that does not fit its type, and where in the content it stands."""

from __future__ import annotations

from reprlib import repr as short_repr
from typing import get_origin

from cattrs.errors import ClassValidationError, IterableValidationError

__all__ = ["Mismatch", "expected", "first_mismatch", "name_of", "reason"]


_LONGEST = 500
"""Characters of a reason: it travels in replies and dead letters."""


class Mismatch(ValueError):
    """One value breaks one rule; the text says both. The codec turns it into a content error with a path."""


def expected(what: object, value: object) -> Mismatch:
    """The mismatch of `value` with a type or a described shape: `expected int, got str '12'`."""
    got = "None" if value is None else f"{type(value).__name__} {short_repr(value)}"
    return Mismatch(f"expected {what if isinstance(what, str) else name_of(what)}, got {got}")


def name_of(type_: object) -> str:
    """A type as a person would write it: `Rebook`, `list[int]`."""
    return type_.__name__ if isinstance(type_, type) and get_origin(type_) is None else repr(type_)


def reason(error: BaseException) -> str:
    """The text of an error, also of those that a class's own validators raise."""
    # Validators of attrs put the attribute and the value behind the text.
    plain = type(error).__str__ is BaseException.__str__ and error.args
    text = str(error.args[0] if plain else error) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def first_mismatch(error: Exception, path: str = "$") -> tuple[str, str, Exception]:
    """Descend into a detailed validation error: the rule, the path and the cause of the first failure."""
    if isinstance(error, ClassValidationError):
        for part, field in error.group_exceptions()[0]:
            if isinstance(part, KeyError) and part.args == (field.name,):
                return f"the required field {field.name!r} is missing", path, part
            return first_mismatch(part, f"{path}.{field.name}")
    elif isinstance(error, IterableValidationError):
        for part, item in error.group_exceptions()[0]:
            return first_mismatch(part, f"{path}[{item.index!r}]")
    if isinstance(error, (ClassValidationError, IterableValidationError)):
        return first_mismatch(error.exceptions[0], path)
    return reason(error), path, error
