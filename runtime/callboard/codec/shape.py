"""What a type looks like on the wire: the facts that encoding, structuring and checking share."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NewType,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

import attrs

from callboard.codec.mismatch import expected
from callboard.errors import DeclarationError

__all__ = [
    "ARRAYS",
    "INTEGERS",
    "MAPPINGS",
    "TEXTS",
    "Shape",
    "all_fields",
    "alternatives",
    "bare",
    "class_of",
    "fields_of",
    "is_enum",
    "is_literal",
    "is_union",
    "literal_values",
    "refuse_wide",
    "shapes",
    "specialised",
]

INTEGERS = (-(2**63), 2**64 - 1)
"""Smallest and greatest integer that every content type can carry."""

TEXTS = (UUID, datetime, date, time, timedelta)
"""Scalars that travel as a text that msgspec reads. `Decimal` and `bytes` have rules of their own."""

ARRAYS: Mapping[object, Callable[[Iterable[Any]], Any]] = {
    list: list,
    Sequence: list,
    MutableSequence: list,
    tuple: tuple,
    deque: deque,
    set: set,
    MutableSet: set,
    frozenset: frozenset,
    AbstractSet: frozenset,
}
"""Collections that travel as arrays, and what the array becomes when it is structured."""

MAPPINGS = (dict, Mapping, MutableMapping)


class Shape(StrEnum):
    """What a decoder sees before it knows the type. A union's members must differ in it."""

    NULL = "null"
    BOOL = "a boolean"
    INT = "an integer"
    FLOAT = "a fraction"
    TEXT = "a text"
    ARRAY = "an array"
    OBJECT = "an object"
    ANY = "anything"


_SCALARS: Mapping[object, Shape] = {
    NoneType: Shape.NULL,
    bool: Shape.BOOL,
    int: Shape.INT,
    float: Shape.FLOAT,
    **dict.fromkeys((str, bytes, Decimal, *TEXTS), Shape.TEXT),
}


def bare(type_: Any) -> Any:
    """The type inside `Annotated`, `Final`, `NewType` and type aliases; `NoneType` for None."""
    if type_ is None:
        return NoneType
    if isinstance(type_, NewType):
        return bare(type_.__supertype__)
    if get_origin(type_) in (Annotated, Final):
        return bare(get_args(type_)[0])
    if type(type_).__name__ == "TypeAliasType":
        return bare(type_.__value__)
    return type_


def is_union(type_: Any) -> bool:
    return get_origin(type_) in (Union, UnionType)


def is_literal(type_: Any) -> bool:
    return get_origin(type_) is Literal


def is_enum(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, Enum)


def alternatives(union: Any) -> tuple[Any, ...]:
    """The members of a union, nested unions and aliases unfolded, None as `NoneType`."""
    members = (bare(member) for member in get_args(union))
    return tuple(part for member in members for part in (alternatives(member) if is_union(member) else (member,)))


def literal_values(literal: Any) -> list[Any]:
    """The plain values of a `Literal`, enum members by value."""
    return [value.value if isinstance(value, Enum) else value for value in get_args(literal)]


def shapes(type_: Any) -> frozenset[Shape]:
    """Every shape that values of the type, bare and no union, can have on the wire."""
    if is_literal(type_):
        return _shapes_of(literal_values(type_))
    if is_enum(type_):
        return _shapes_of(member.value for member in type_)
    if type_ in _SCALARS:
        return frozenset({_SCALARS[type_]})
    if (get_origin(type_) or type_) in ARRAYS:
        return frozenset({Shape.ARRAY})
    if class_of(type_) or (get_origin(type_) or type_) in MAPPINGS:
        return frozenset({Shape.OBJECT})
    return frozenset({Shape.ANY})


def class_of(type_: Any) -> type | None:
    """The attrs class or dataclass that a type (`Box` or `Box[int]`) is made of, or None."""
    origin = get_origin(type_) or type_
    if isinstance(origin, type) and (attrs.has(origin) or dataclasses.is_dataclass(origin)):
        return cast("type", origin)
    return None


def all_fields(cls: Any) -> tuple[Any, ...]:
    """The fields of an attrs class or a dataclass, also those that do not travel."""
    return attrs.fields(cls) if attrs.has(cls) else dataclasses.fields(cls)


def fields_of(cls: type) -> Mapping[str, Any]:
    """The fields of a class that travel, by name, with forward references resolved.

    Fields with `init=False` do not travel: the class computes them.

    Raises
    ------
    DeclarationError: an annotation names something that cannot be found.
    """
    try:
        if attrs.has(cls):
            attrs.resolve_types(cls)
        else:
            hints = get_type_hints(cls, include_extras=True)
            for field in all_fields(cls):
                field.type = hints[field.name]
    except (NameError, AttributeError) as error:
        rule = f"{error}; annotations of content are read at run time, so define what they name in the module"
        raise DeclarationError(cls.__qualname__, rule) from error
    return {field.name: field.type for field in all_fields(cls) if field.init}


def specialised(type_: Any, known: Mapping[Any, Any]) -> Any:
    """The type of a generic class's field, given what its variables stand for: anything, where that is not known."""
    if isinstance(type_, TypeVar):
        return known.get(type_, Any)
    if get_origin(type_) is None:
        return type_
    variables = getattr(type_, "__parameters__", ())
    return type_[tuple(known.get(variable, Any) for variable in variables)] if variables else type_


def refuse_wide(value: int) -> int:
    """The value, if 64 bits can hold it."""
    if INTEGERS[0] <= value <= INTEGERS[1]:
        return value
    raise expected("an integer from -2**63 to 2**64-1 (others can be sent as text)", value)


def _shapes_of(values: Iterable[object]) -> frozenset[Shape]:
    return frozenset(_SCALARS.get(type(value), Shape.ANY) for value in values)
