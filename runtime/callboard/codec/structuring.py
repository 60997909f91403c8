"""From builtins to declared types, strictly: nothing is converted that was not encoded that way."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from math import isfinite
from types import GenericAlias, NoneType
from typing import Annotated, Any, cast, get_args, get_origin

from cattrs import Converter
from cattrs.cols import (
    list_structure_factory,
    mapping_structure_factory,  # pyright: ignore[reportUnknownVariableType]
)
from msgspec import ValidationError, convert

from callboard.codec.mismatch import Mismatch, expected, name_of
from callboard.codec.shape import (
    ARRAYS,
    INTEGERS,
    MAPPINGS,
    TEXTS,
    bare,
    class_of,
    fields_of,
    is_enum,
    is_literal,
    is_union,
    refuse_wide,
)
from callboard.codec.union import Structure, structure_union

__all__ = ["refuse_odd_numbers", "structuring_converter"]

_KEY = "callboard.mapping_key"
"""Marks the key type of a mapping for the hook that reads keys from JSON's text."""


def structuring_converter(*, binary: bool, detailed: bool) -> Converter:
    """A converter from builtins to types.

    `binary` says that the content type carries bytes and integer keys as they are; otherwise they are text.
    `detailed` keeps the path of what does not fit, and costs half as much again.
    """
    converter = Converter(detailed_validation=detailed)
    # cattrs looks classes up first and predicates in reverse order of registration.
    for cls, hook in _SCALARS.items():
        converter.register_structure_hook(cls, hook)
    converter.register_structure_hook(bytes, _structure_bytes if binary else _structure_text)
    converter.register_structure_hook_func(lambda type_: type_ in (Any, object, None), _structure_any)
    converter.register_structure_hook_factory(is_literal, _literal_factory)
    converter.register_structure_hook_factory(is_union, structure_union)
    converter.register_structure_hook_factory(lambda type_: class_of(type_) is not None, _class_factory)
    converter.register_structure_hook_factory(lambda type_: _origin(type_) in ARRAYS, _array_factory)
    converter.register_structure_hook_factory(lambda type_: _origin(type_) in MAPPINGS, _mapping_factory)
    if not binary:
        converter.register_structure_hook_factory(
            lambda type_: _KEY in getattr(type_, "__metadata__", ()), _key_factory
        )
    return converter


def refuse_odd_numbers(value: Any) -> None:
    """Refuse integers beyond 64 bits, NaN and infinities anywhere in builtins that have no declared type."""
    parts = [value]
    for part in parts:
        cls = part.__class__
        if cls is str:
            continue
        if cls is int:
            refuse_wide(part)
        elif cls is float:
            _refuse_infinite(part)
        elif cls is dict:
            parts.extend(part)
            parts.extend(part.values())
        elif cls is list or cls is tuple:
            parts.extend(part)


def _origin(type_: Any) -> Any:
    return get_origin(type_) or type_


def _refuse_infinite(value: float) -> float:
    if isfinite(value):
        return value
    raise Mismatch(f"{value} is no number that content can carry; send None, or a text")


# scalars


def _structure_str(value: Any, type_: Any) -> Any:
    if value.__class__ is str and type_ is str:
        return value
    return _structure_enum(value, type_)


def _structure_int(value: Any, type_: Any) -> Any:
    if value.__class__ is int and type_ is int:
        return value if INTEGERS[0] <= value <= INTEGERS[1] else refuse_wide(value)
    return _structure_enum(value, type_)


def _structure_float(value: Any, type_: Any) -> Any:
    if value.__class__ is float:
        return _refuse_infinite(value)
    if value.__class__ is int:
        return float(refuse_wide(value))
    raise expected(type_, value)


def _structure_bool(value: Any, type_: Any) -> Any:
    if value is True or value is False:
        return value
    raise expected(type_, value)


def _structure_none(value: Any, _: Any) -> Any:
    if value is None:
        return None
    raise expected("None", value)


def _structure_bytes(value: Any, type_: Any) -> Any:
    if value.__class__ is bytes:
        return value
    raise expected(type_, value)


def _structure_text(value: Any, type_: Any) -> Any:
    if value.__class__ is str:
        try:
            return convert(value, type_)
        except ValidationError:
            pass  # the text is not one of the type: refused below
    elif value.__class__ is type_ is datetime:  # MessagePack has a timestamp of its own, which others may send
        return value
    raise expected(type_, value)


def _structure_decimal(value: Any, type_: Any) -> Any:
    number = _structure_text(value, type_)
    if number.is_finite():
        return number
    raise expected("a finite Decimal", value)


def _structure_any(value: Any, _: Any) -> Any:
    refuse_odd_numbers(value)
    return value


@cache
def _value_classes(enum: type[Enum]) -> frozenset[type]:
    return frozenset(member.value.__class__ for member in enum)


def _structure_enum(value: Any, type_: Any) -> Any:
    # The classes are compared because True and 1.0 equal 1. Enums of str and int come here through the hooks
    # of their bases.
    if is_enum(type_) and value.__class__ in _value_classes(type_):
        try:
            return type_(value)
        except ValueError:
            raise expected(f"one of {[member.value for member in type_]}", value) from None
    raise expected(type_, value)


_SCALARS: dict[Any, Structure] = {
    str: _structure_str,
    int: _structure_int,
    float: _structure_float,
    bool: _structure_bool,
    NoneType: _structure_none,
    Decimal: _structure_decimal,
    Enum: _structure_enum,
    **dict.fromkeys(TEXTS, _structure_text),
}


def _literal_factory(literal: Any, _: Converter) -> Structure:
    plain = [(value.value if isinstance(value, Enum) else value, value) for value in get_args(literal)]
    known: dict[Any, Any] = {(wire.__class__, wire): value for wire, value in plain}

    def structure(value: Any, _: Any) -> Any:
        key = (value.__class__, value)
        if isinstance(value, (str, int, NoneType)) and key in known:
            return known[key]
        raise expected(f"one of {[wire for wire, _ in plain]}", value)

    return structure


# what has parts


@cache
def _class_factory(type_: Any, converter: Converter) -> Structure:
    # The function for the fields is made at the first value, so that classes may contain each other. cattrs
    # would otherwise fall back to the value's class somewhere in the cycle and forget the annotation.
    cls = cast("type", class_of(type_))
    fields: Structure | None = None

    def structure(value: Any, _: Any) -> Any:
        nonlocal fields
        if value.__class__ is not dict:
            raise expected(f"{name_of(cls)} as an object", value)
        if fields is None:
            fields_of(cls)
            fields = cast("Structure", converter.gen_structure_attrs_fromdict(type_))
        return fields(value, type_)

    return structure


def _array_factory(type_: Any, converter: Converter) -> Structure:
    collect, parts = ARRAYS[_origin(type_)], get_args(type_)
    length = None
    if collect is tuple and parts and parts[-1] is not ...:
        length = len(parts)
        items = cast("Structure", converter.gen_structure_hetero_tuple(type_))
    else:
        element: Any = parts[0] if parts and parts[0] is not Any else object
        items = list_structure_factory(cast("type", GenericAlias(list, (element,))), converter)

    def structure(value: Any, _: Any) -> Any:
        if value.__class__ is not list and value.__class__ is not tuple:
            raise expected("an array", value)
        if length is not None and len(value) != length:
            raise expected(f"an array of {length}", value)
        return collect(items(value, type_))

    return structure


def _mapping_factory(type_: Any, converter: Converter) -> Structure:
    key, element = get_args(type_) or (object, object)
    items = mapping_structure_factory(
        dict[Any, Any],  # given the types of keys and values, only that it has two is looked at
        converter,
        key_type=Annotated[object if key is Any else key, _KEY],
        val_type=object if element is Any else element,
    )

    def structure(value: Any, _: Any) -> Any:
        if value.__class__ is dict:
            return items(value, type_)
        raise expected("an object", value)

    return structure


def _key_factory(annotated: Any, converter: Converter) -> Structure:
    key = bare(annotated)
    if key is int:
        return _structure_int_key
    if is_enum(key):
        return _enum_key(key)
    hook = converter.get_structure_hook(key)
    return lambda value, _: hook(value, key)


def _structure_int_key(value: Any, _: Any) -> Any:
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise expected("an integer as key", value) from None
    if str(number) != value:  # int() also takes spaces, underscores and leading zeros
        raise expected("an integer as key", value)
    return refuse_wide(number)


def _enum_key(enum: type[Enum]) -> Structure:
    members = {str(member.value): member for member in enum}

    def structure(value: Any, _: Any) -> Any:
        if value in members:
            return members[value]
        raise expected(f"one of {list(members)} as key", value)

    return structure
