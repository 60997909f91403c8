"""From content to builtins that every content type can write, led by the annotations of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from math import isfinite
from reprlib import repr as short_repr
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin
from uuid import UUID

from cattrs import Converter
from msgspec import to_builtins

from callboard.codec.mismatch import Mismatch, expected, name_of
from callboard.codec.shape import (
    INTEGERS,
    class_of,
    fields_of,
    is_literal,
    is_union,
    refuse_wide,
)
from callboard.codec.union import Unstructure, unstructure_union

__all__ = ["unstructuring_converter"]

_KEY_CLASSES = frozenset({str, int, bytes})
_MINUTE = timedelta(minutes=1)


def unstructuring_converter() -> Converter:
    """A converter from content to `dict`, `list`, `str`, `int`, `float`, `bool`, `bytes` and None.

    A field is encoded as its annotation says and refused when the value is of another type, so that a sender
    learns what its receivers would not accept. Enums and literals are encoded by value, whichever they are.
    What has no annotation is encoded by its class.
    """
    converter = Converter(unstructure_fallback_factory=_refuse)
    # cattrs looks classes up first and predicates in reverse order of registration.
    for cls, hook in _SCALARS.items():
        converter.register_unstructure_hook(cls, hook)
    converter.register_unstructure_hook(Enum, lambda value: converter.unstructure(_enum_value(value)))
    converter.register_unstructure_hook_func(_says_nothing, _by_class(converter))
    converter.register_unstructure_hook_factory(is_union, unstructure_union)
    converter.register_unstructure_hook_factory(_is(Mapping), _mapping_factory)
    converter.register_unstructure_hook_factory(_is(Sequence), _array_factory)
    converter.register_unstructure_hook_factory(_is(AbstractSet), _set_factory)
    converter.register_unstructure_hook_factory(lambda type_: class_of(type_) is not None, _class_factory)
    return converter


def _is(*classes: type) -> Callable[[Any], bool]:
    def matches(type_: Any) -> bool:
        origin = get_origin(type_) or type_
        return isinstance(origin, type) and issubclass(origin, classes)

    return matches


def _says_nothing(type_: Any) -> bool:
    # None is the type of an attrs field without annotation.
    return type_ in (Any, object, None) or isinstance(type_, TypeVar) or is_literal(type_)


def _by_class(converter: Converter) -> Unstructure:
    refuse_object = _refuse(object)

    def unstructure(value: Any) -> Any:
        if value.__class__ is str:
            return value
        return refuse_object(value) if value.__class__ is object else converter.unstructure(value)

    return unstructure


def _refuse(type_: Any) -> Unstructure:
    def unstructure(_: Any) -> Any:
        raise Mismatch(
            f"{name_of(type_)} is no type that content can carry; use an attrs class, a dataclass, "
            "a collection or a plain value"
        )

    return unstructure


# scalars


def _enum_value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    raise expected("an enum member", value)


def _unstructure_str(value: Any) -> Any:
    if value.__class__ is str:
        return value
    if isinstance(value, str):
        return str.__str__(value.value if isinstance(value, Enum) else value)
    raise expected(str, value)


def _unstructure_int(value: Any) -> Any:
    if value.__class__ is int:
        return value if INTEGERS[0] <= value <= INTEGERS[1] else refuse_wide(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return refuse_wide(int(value))
    raise expected(int, value)


def _unstructure_float(value: Any) -> Any:
    if isinstance(value, (float, int)) and not isinstance(value, bool):
        if isfinite(value):
            return float(value) if isinstance(value, float) else refuse_wide(value)
        raise Mismatch(f"{value} is no number that content can carry; use None, or a text")
    raise expected(float, value)


def _unstructure_bytes(value: Any) -> Any:
    if issubclass(value.__class__, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise expected(bytes, value)


def _unstructure_datetime(value: Any) -> Any:
    if not isinstance(value, datetime):
        raise expected(datetime, value)
    offset = value.utcoffset()
    # RFC 3339 has no seconds in offsets; time zones before the 20th century do.
    return (value.astimezone(UTC) if offset and offset % _MINUTE else value).isoformat()


def _unstructure_date(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    raise expected(date, value)


def _unstructure_time(value: Any) -> Any:
    if not isinstance(value, time):
        raise expected(time, value)
    offset = value.utcoffset()
    if offset and offset % _MINUTE:
        raise expected("an offset of whole minutes", value)
    return value.isoformat()


def _unstructure_decimal(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    raise expected("a finite Decimal", value)


def _exactly(cls: type, write: Callable[[Any], Any]) -> Unstructure:
    def unstructure(value: Any) -> Any:
        if isinstance(value, cls):
            return write(value)
        raise expected(cls, value)

    return unstructure


def _same(value: Any) -> Any:
    return value


_SCALARS: dict[Any, Unstructure] = {
    str: _unstructure_str,
    int: _unstructure_int,
    float: _unstructure_float,
    bool: _exactly(bool, _same),
    NoneType: _exactly(NoneType, _same),
    **dict.fromkeys((bytes, bytearray, memoryview), _unstructure_bytes),
    datetime: _unstructure_datetime,
    date: _unstructure_date,
    time: _unstructure_time,
    timedelta: _exactly(timedelta, to_builtins),
    UUID: _exactly(UUID, str),
    Decimal: _unstructure_decimal,
}


# what has parts


@cache
def _class_factory(type_: Any, converter: Converter) -> Unstructure:
    # Made at the first value for the same reason as in structuring.
    cls = cast("type", class_of(type_))
    fields: Unstructure | None = None

    def unstructure(value: Any) -> Any:
        nonlocal fields
        if not isinstance(value, cls):
            raise expected(type_, value)
        if fields is None:
            fields_of(cls)
            fields = converter.gen_unstructure_attrs_fromdict(type_)
        return fields(value)

    return unstructure


def _array_factory(type_: Any, converter: Converter) -> Unstructure:
    parts = get_args(type_)
    if get_origin(type_) is tuple and parts and parts[-1] is not ...:
        return _tuple_hook(parts, converter)
    hook = converter.get_unstructure_hook(parts[0] if parts else Any)

    def unstructure(value: Any) -> Any:
        if value.__class__ is list or _is_sequence(value):
            return [hook(part) for part in value]
        raise expected("a sequence", value)

    return unstructure


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview))


def _tuple_hook(parts: tuple[Any, ...], converter: Converter) -> Unstructure:
    hooks = [converter.get_unstructure_hook(part) for part in parts]

    def unstructure(value: Any) -> Any:
        if issubclass(value.__class__, (list, tuple)) and len(value) == len(hooks):
            return [hook(part) for hook, part in zip(hooks, value, strict=True)]
        raise expected(f"a tuple of {len(hooks)}", value)

    return unstructure


def _set_factory(type_: Any, converter: Converter) -> Unstructure:
    parts = get_args(type_)
    hook = converter.get_unstructure_hook(parts[0] if parts else Any)

    def unstructure(value: Any) -> Any:
        if issubclass(value.__class__, AbstractSet):
            return _ordered([hook(part) for part in value])
        raise expected("a set", value)

    return unstructure


def _ordered(parts: list[Any]) -> list[Any]:
    # Equal sets give equal bytes in every process: identifiers of outputs are derived from them.
    try:
        return sorted(parts)
    except TypeError:
        return sorted(parts, key=repr)


def _mapping_factory(type_: Any, converter: Converter) -> Unstructure:
    key_type, part_type = get_args(type_) if len(get_args(type_)) == 2 else (Any, Any)
    key_hook, hook = _key(converter.get_unstructure_hook(key_type)), converter.get_unstructure_hook(part_type)

    def unstructure(value: Any) -> Any:
        if not issubclass(value.__class__, Mapping):
            raise expected("a mapping", value)
        result = {key_hook(key): hook(part) for key, part in value.items()}
        # JSON makes text of every key.
        if len({*map(type, result)}) > 1 or len(result) != len(value):
            raise Mismatch(f"keys {short_repr(list(value))} must all be texts or all integers, and differ")
        return result

    return unstructure


def _key(hook: Unstructure) -> Unstructure:
    def unstructure(key: Any) -> Any:
        plain = hook(key)
        if plain.__class__ in _KEY_CLASSES:
            return plain
        raise expected("a key that is a text, an integer or an enum member", key)

    return unstructure
