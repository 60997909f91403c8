"""Where in content stands what cannot be encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from reprlib import repr as short_repr
from typing import Any, TypeVar, get_args, get_origin

from cattrs import Converter

from callboard.codec.shape import ARRAYS, MAPPINGS, class_of, fields_of

__all__ = ["mismatch_path"]


def mismatch_path(converter: Converter, value: object, type_: Any = None, path: str = "$") -> str:
    """The path of the first part of `value` that the converter refuses, as deep as it can be told."""
    try:
        parts = list(_parts(value, type_))
    except Exception:  # noqa: BLE001 - annotations that are not found, properties and mappings that raise
        return path
    for step, part, part_type in parts:
        try:
            converter.unstructure(part, unstructure_as=part_type)
        except Exception:  # noqa: BLE001 - as above
            return mismatch_path(converter, part, part_type, path + step)
    return path


def _parts(value: Any, type_: Any) -> Iterator[tuple[str, Any, Any]]:
    if (cls := class_of(value.__class__)) is not None:
        for name, field_type in fields_of(cls).items():
            yield f".{name}", getattr(value, name), None if isinstance(field_type, TypeVar) else field_type
    elif issubclass(value.__class__, Mapping):
        for key, part in value.items():
            yield f"[{short_repr(key)}]", part, _part_type(type_)
    elif issubclass(value.__class__, (list, tuple)):
        for index, part in enumerate(value):
            yield f"[{index}]", part, _part_type(type_)


def _part_type(type_: Any) -> Any:
    """What a mapping or a homogeneous array says of its parts; None where it says nothing."""
    origin, parts = get_origin(type_), get_args(type_)
    if origin in MAPPINGS:
        return parts[1]
    homogeneous = origin in ARRAYS and (len(parts) == 1 or parts[-1] is ...)
    return parts[0] if homogeneous else None
