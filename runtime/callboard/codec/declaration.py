"""Whether content of a type can be carried without ambiguity, asked when an actor is declared."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from types import NoneType
from typing import Any, get_args, get_origin

from callboard.codec.mismatch import name_of
from callboard.codec.shape import (
    ARRAYS,
    MAPPINGS,
    TEXTS,
    Shape,
    alternatives,
    bare,
    class_of,
    fields_of,
    is_enum,
    is_literal,
    is_union,
    literal_values,
    shapes,
    specialised,
)
from callboard.codec.union import TAG, chooser
from callboard.errors import DeclarationError

__all__ = ["check_type"]

_PLAIN: frozenset[Any] = frozenset({Any, object, NoneType, bool, int, float, str, bytes, Decimal, *TEXTS})
_KEYS: frozenset[Any] = frozenset({Any, object, int, str, bytes, Decimal, *TEXTS})


def check_type(type_: Any) -> None:
    """Refuse a type that content cannot carry unambiguously, before the first message.

    Forward references are resolved on the way, and stay resolved.

    Raises
    ------
    DeclarationError: names the field and the rule. Members of a union must differ in their shape on the wire
        (`str | UUID` are both text); keys are text, integers or enum members; classes are attrs classes or
        dataclasses.
    """
    _Check().type_(type_, name_of(type_))


class _Check:
    """One walk through a type and everything that it is made of."""

    def __init__(self) -> None:
        self._seen: set[Any] = set()

    def type_(self, type_: Any, where: str, *, in_class: bool = False) -> None:
        type_ = bare(type_)
        origin = get_origin(type_) or type_
        if is_union(type_):
            self._union(type_, where, in_class=in_class)
        elif cls := class_of(type_):
            self._class(type_, cls, where, in_class=in_class)
        elif is_enum(type_):
            self._values([member.value for member in type_], where)
        elif is_literal(type_):
            self._values(literal_values(type_), where)
        elif origin in ARRAYS:
            self._parts(get_args(type_), where, in_class=in_class)
        elif origin in MAPPINGS:
            self._key(bare((get_args(type_) or (str,))[0]), where)
            self._parts(get_args(type_)[1:], where, in_class=in_class)
        elif type_ not in _PLAIN:
            raise DeclarationError(
                where,
                f"{name_of(type_)} is no type that content can carry; use an attrs class, a dataclass, "
                "a collection or a plain value",
            )

    def _parts(self, parts: Iterable[Any], where: str, *, in_class: bool) -> None:
        for part in parts:
            if part is not ...:
                self.type_(part, where, in_class=in_class)

    def _values(self, values: Iterable[object], where: str) -> None:
        for value in values:
            if not isinstance(value, (str, int, NoneType)):
                raise DeclarationError(where, f"{value!r} is no text and no integer, as values of enums must be")

    def _key(self, key: Any, where: str) -> None:
        is_text = is_literal(key) and shapes(key) <= {Shape.TEXT}
        if key not in _KEYS and not is_text and not is_enum(key):
            raise DeclarationError(where, f"{name_of(key)} is no key of a mapping; keys are texts, integers or enums")
        self.type_(key, where)
        texts = [str(member.value) for member in key] if is_enum(key) else []
        if len(set(texts)) != len(texts):
            raise DeclarationError(where, f"values of {name_of(key)} are the same text, which JSON makes of keys")

    def _class(self, type_: Any, cls: type, where: str, *, in_class: bool) -> None:
        if (type_, in_class) in self._seen:
            return
        self._seen.add((type_, in_class))
        variables: tuple[Any, ...] = getattr(cls, "__parameters__", ())
        if variables and not get_args(type_):
            raise DeclarationError(where, f"{name_of(cls)} is generic; say of what, as in {name_of(cls)}[int]")
        known = dict(zip(variables, get_args(type_), strict=False))
        for name, field in fields_of(cls).items():
            if field is not None:
                known_field = specialised(field, known)
                # Outside of a class nothing tells the encoder what a generic class was made of.
                held = in_class or known_field is field
                self.type_(known_field, f"{cls.__name__}.{name}", in_class=held)

    def _union(self, union: Any, where: str, *, in_class: bool) -> None:
        members = alternatives(union)
        self._parts(members, where, in_class=in_class)
        classes = tuple(member for member in members if class_of(member))
        objects = [frozenset({Shape.OBJECT})] if classes else []
        self._shapes([*objects, *(shapes(m) for m in members if m not in classes)], members, where)
        if len(classes) > 1 and chooser(classes) is None:
            self._tags(classes, where, in_class=in_class)

    def _shapes(self, found: list[frozenset[Shape]], members: Iterable[Any], where: str) -> None:
        seen: set[Shape] = set()
        names = " | ".join(map(name_of, members))
        for shape in (shape for each in found for shape in each):
            if shape in seen:
                raise DeclarationError(
                    where,
                    f"two members of {names} are {shape} on the wire; keep one, or put them into classes",
                )
            seen.add(shape)
        if Shape.ANY in seen and not seen <= {Shape.ANY, Shape.NULL}:
            raise DeclarationError(where, f"one member of {names} is anything; leave out the others")

    def _tags(self, classes: tuple[Any, ...], where: str, *, in_class: bool) -> None:
        names = [name_of(class_of(cls)) for cls in classes]
        told = f"no required field or Literal tells {', '.join(names)} apart"
        if not in_class:
            raise DeclarationError(where, f"{told}; give one a field of its own, or hold them in a field of a class")
        if len(set(names)) != len(names) or any(TAG in fields_of(class_of(cls) or cls) for cls in classes):
            raise DeclarationError(where, f"{told}, and their names cannot either; rename one")
