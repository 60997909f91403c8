"""Unions: which member a value belongs to, decided alike on both ends.

Members differ in their shape on the wire. Several classes, all of them objects, differ by a `Literal` field
or by a required field that only one of them has; where they do not, the object carries the class's name in
`_type`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from types import NoneType
from typing import Any, cast, get_args, get_origin

from cattrs import Converter
from cattrs.disambiguators import create_default_dis_func

from callboard.codec.mismatch import Mismatch, expected, name_of
from callboard.codec.shape import (
    ARRAYS,
    Shape,
    all_fields,
    alternatives,
    bare,
    class_of,
    fields_of,
    is_literal,
    literal_values,
    shapes,
)

__all__ = ["TAG", "Structure", "Unstructure", "chooser", "structure_union", "unstructure_union"]

Structure = Callable[[Any, Any], Any]
Unstructure = Callable[[Any], Any]

TAG = "_type"
"""Name of the field that tells classes apart when nothing else does."""

_WIRE_CLASSES: Mapping[Shape, tuple[type, ...]] = {
    Shape.NULL: (NoneType,),
    Shape.BOOL: (bool,),
    Shape.INT: (int,),
    Shape.FLOAT: (float,),
    Shape.TEXT: (str, bytes, datetime),
    Shape.ARRAY: (list, tuple),
    Shape.OBJECT: (dict,),
}


_NO_CONVERTER = Converter()


def chooser(classes: tuple[Any, ...]) -> Callable[[Any], Any] | None:
    """The function that finds the class of an object by its fields; None when only a tag can."""
    if not all(_travels_whole(cls) for cls in classes):
        return None
    try:
        # Given overrides, cattrs does not ask the converter for hooks of classes whose hooks are being made.
        choose = create_default_dis_func(
            _NO_CONVERTER, *classes, use_literals=_have_discriminator(classes), overrides={}
        )
    except TypeError:
        return None
    return cast("Callable[[Any], Any]", choose)


def _travels_whole(cls: Any) -> bool:
    # cattrs would also look for fields with `init=False`, which are not on the wire.
    origin = class_of(cls) or cls
    return len(fields_of(origin)) == len(all_fields(origin))


def _have_discriminator(classes: tuple[Any, ...]) -> bool:
    # cattrs also takes a Literal field that tells only some of the classes apart, and then decides a second
    # time among the rest: the encoder could not know whether a tag is needed.
    fields = [fields_of(class_of(cls) or cls) for cls in classes]
    return any(_is_discriminator([own.get(name) for own in fields]) for name in fields[0])


def _is_discriminator(types: list[Any]) -> bool:
    if not all(is_literal(type_) for type_ in types):
        return False
    values = [value for type_ in types for value in get_args(type_)]
    return len(set(values)) == len(values) and not any(isinstance(value, Enum) for value in values)


def structure_union(union: Any, converter: Converter) -> Structure:
    """The structuring hook of a union."""
    members = [member for member in alternatives(union) if member is not NoneType]
    if len(members) == 1:
        return _structure_optional(members[0], converter)
    hooks: dict[type, tuple[Structure, Any]] = {}
    for member in alternatives(union):
        hook = (converter.get_structure_hook(member), member)
        hooks.update({cls: hook for shape in shapes(member) for cls in _WIRE_CLASSES[shape]})
    classes = tuple(member for member in members if class_of(member))
    if len(classes) > 1:
        hooks[dict] = (_structure_classes(classes, converter), union)
    if float in hooks:
        hooks.setdefault(int, hooks[float])

    def structure(value: Any, _: Any) -> Any:
        found = hooks.get(value.__class__)
        if found is None:
            raise expected(" | ".join(map(name_of, alternatives(union))), value)
        return found[0](value, found[1])

    return structure


def _structure_optional(member: Any, converter: Converter) -> Structure:
    hook = converter.get_structure_hook(member)

    def structure(value: Any, _: Any) -> Any:
        return None if value is None else hook(value, member)

    return structure


def _structure_classes(classes: tuple[Any, ...], converter: Converter) -> Structure:
    choose = chooser(classes)
    if choose is None:
        return _structure_tagged(classes, converter)

    def structure(value: Any, _: Any) -> Any:
        try:
            chosen = choose(value)
        except (KeyError, ValueError, TypeError):
            names = ", ".join(map(name_of, classes))
            raise Mismatch(f"the fields {sorted(map(str, value))} are those of none of {names}") from None
        return converter.structure(value, chosen)

    return structure


def _structure_tagged(classes: tuple[Any, ...], converter: Converter) -> Structure:
    tags = {name_of(class_of(cls)): cls for cls in classes}

    def structure(value: Any, _: Any) -> Any:
        tag = value.get(TAG)
        if not isinstance(tag, str) or tag not in tags:
            raise expected(f"field {TAG!r} to be one of {', '.join(tags)}", tag)
        return converter.structure(value, tags[tag])

    return structure


def unstructure_union(union: Any, converter: Converter) -> Unstructure:
    """The encoding hook of a union: the member is found by the value's class."""
    hooks: dict[type, Unstructure] = {}
    for member in alternatives(union):
        hook = converter.get_unstructure_hook(member)
        hooks.update(dict.fromkeys(_value_classes(member), hook))
    classes = tuple(member for member in alternatives(union) if class_of(member))
    if len(classes) > 1 and chooser(classes) is None:
        hooks.update({cls: _tagged(hooks[cls], name_of(cls)) for cls in filter(None, map(class_of, classes))})
    if float in hooks:
        hooks.setdefault(int, hooks[float])

    def unstructure(value: Any) -> Any:
        for cls in value.__class__.__mro__:
            if cls in hooks:
                return hooks[cls](value)
        raise expected(" | ".join(map(name_of, alternatives(union))), value)

    return unstructure


def _value_classes(member: Any) -> tuple[type, ...]:
    origin = bare(get_origin(member) or member)
    if is_literal(member):
        return tuple({value.__class__ for value in (*get_args(member), *literal_values(member))})
    if origin in ARRAYS:
        return (set, frozenset) if ARRAYS[origin] in (set, frozenset) else (list, tuple, deque)
    if class_of(member) is None and Shape.OBJECT in shapes(member):
        return (dict,)
    return (origin,) if isinstance(origin, type) and origin is not Any else (object,)


def _tagged(hook: Unstructure, tag: str) -> Unstructure:
    def unstructure(value: Any) -> Any:
        return {**hook(value), TAG: tag}

    return unstructure
