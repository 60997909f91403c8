"""JSON Schemas of what the codec writes and reads.

They are built on the codec's own facts about types. The schemas of msgspec follow other rules: it refuses unions of
several classes and knows no tags.

What the codec writes fits the schema of its type, and what fits is read. The exceptions are what JSON Schema cannot
say, or nobody would want to read: integers that are beyond 64 bits, or written as `1.0`; dates and lengths of time out
of range; an object with fields of several members of a union, and an integer where a union has fractions and an integer
enum; what a class's own validators refuse. A datetime without an offset is written without one, which the format
`date-time` wants.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING as _MISSING
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from types import NoneType
from typing import Any, cast, get_args, get_origin
from uuid import UUID

import attrs

from callboard.asyncapi.docstring import doc_of, field_docs
from callboard.asyncapi.name import Names
from callboard.codec.mismatch import name_of
from callboard.codec.shape import (
    ARRAYS,
    MAPPINGS,
    Shape,
    all_fields,
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

__all__ = ["Schema", "Schemas"]

Schema = dict[str, Any]

_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
_LENGTH = r"-?P(?=[0-9]|T[0-9])(?:[0-9]+D)?(?:T(?=[0-9])(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+(?:\.[0-9]{1,6})?S)?)?"
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_PLAIN: Mapping[Any, Schema] = {
    NoneType: {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "contentEncoding": "base64", "pattern": f"^{_BASE64}$"},
    UUID: {"type": "string", "format": "uuid"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    # The formats `time` and `duration` want an offset and refuse fractions and signs.
    time: {"title": "time", "type": "string", "pattern": f"^{_TIME}$"},
    timedelta: {"title": "ISO 8601 duration", "type": "string", "pattern": f"^{_LENGTH}$"},
    Decimal: {"title": "decimal", "type": "string", "pattern": r"^-?[0-9]+(?:\.[0-9]+)?(?:E[+-]?[0-9]+)?$"},
}
_INTEGER_KEY: Schema = {"pattern": "^(?:0|-?[1-9][0-9]*)$"}
_SCALARS = frozenset({Shape.NULL, Shape.BOOL, Shape.INT, Shape.FLOAT, Shape.TEXT})
_JSON_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", str: "string", NoneType: "null"}


class Schemas:
    """Schemas by type; those of classes and enums stand in `components` once, and are referred to.

    The types have passed `check_type`.
    """

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._names = Names()
        self._known: dict[Any, str] = {}

    def add(self, name: str, schema: Schema) -> Schema:
        """Put a schema of no type under a name, and refer to it."""
        name = self._names.unique(name)
        self.components[name] = {"title": name} | schema
        return _reference(name)

    def name(self, type_: Any) -> str | None:
        """The name under which the schema of a type stands; None for one that has none."""
        return self._known.get(bare(type_))

    def of(self, type_: Any) -> Schema:
        """The schema of a type, or a reference to it."""
        type_ = bare(type_)
        if is_union(type_):
            return self._union(type_)
        cls = type_ if is_enum(type_) else class_of(type_)
        return self._unshared(type_) if cls is None else self._shared(type_, cls)

    def _unshared(self, type_: Any) -> Schema:
        origin = get_origin(type_) or type_
        if is_literal(type_):
            return _values(literal_values(type_))
        if origin in ARRAYS:
            return self._array(type_, origin)
        if origin in MAPPINGS:
            return self._mapping(type_)
        return dict(_PLAIN.get(type_, {}))

    def _shared(self, type_: Any, cls: type) -> Schema:
        if type_ not in self._known:
            name = self._names.unique(_component_name(type_), f"{cls.__module__}.{_component_name(type_)}")
            self._known[type_] = name  # before its fields: a class may contain itself
            described: Schema = {"title": _component_name(type_)}
            if doc := doc_of(cls):
                described["description"] = doc
            self.components[name] = described
            described.update(self._enum(type_) if is_enum(type_) else self._class(type_, cls))
        return _reference(self._known[type_])

    @staticmethod
    def _enum(enum: Any) -> Schema:
        return _values([member.value for member in cast("Iterable[Enum]", enum)])

    def _class(self, type_: Any, cls: type) -> Schema:
        known = dict(zip(getattr(cls, "__parameters__", ()), get_args(type_), strict=False))
        types, docs = fields_of(cls), field_docs(cls)
        properties: dict[str, Schema] = {}
        required: list[str] = []
        for field in all_fields(cls):
            if field.name not in types:
                continue
            said: Schema = {"description": docs[field.name]} if field.name in docs else {}
            if _is_required(field):
                required.append(field.name)
            else:
                said.update(_default(field.default))
            properties[field.name] = _with(self.of(specialised(types[field.name], known)), said)
        return {"type": "object", "properties": properties} | ({"required": required} if required else {})

    def _union(self, union: Any) -> Schema:
        members = alternatives(union)
        classes = tuple(member for member in members if class_of(member))
        tagged = len(classes) > 1 and chooser(classes) is None
        schemas = [self._tagged(m) if tagged and m in classes else self.of(m) for m in members]
        if all(_is_simple(schema) for schema in schemas):
            merged = {key: value for schema in schemas for key, value in schema.items()}
            return merged | {"type": [schema["type"] for schema in schemas]}
        return {"anyOf": schemas} if {} not in schemas else {}

    def _tagged(self, member: Any) -> Schema:
        tag = {"properties": {TAG: {"const": name_of(class_of(member))}}, "required": [TAG]}
        return {"allOf": [self.of(member), tag]}

    def _array(self, type_: Any, origin: Any) -> Schema:
        parts = get_args(type_)
        if origin is tuple and parts and parts[-1] is not ...:
            size = len(parts)
            return {"type": "array", "items": [self.of(part) for part in parts], "minItems": size, "maxItems": size}
        schema: Schema = {"type": "array"}
        if parts and (items := self.of(parts[0])):
            schema["items"] = items
            if issubclass(ARRAYS[origin], set | frozenset) and _is_scalar(parts[0]):  # type: ignore[arg-type]
                schema["uniqueItems"] = True
        return schema

    def _mapping(self, type_: Any) -> Schema:
        schema: Schema = {"type": "object"}
        if parts := get_args(type_):
            key, values = self._key(bare(parts[0])), self.of(parts[1])
            schema |= {"propertyNames": key} if key else {}
            schema |= {"additionalProperties": values} if values else {}
        return schema

    def _key(self, key: Any) -> Schema:
        """Keys are texts in JSON, whatever they were."""
        if key is int:
            return _INTEGER_KEY
        if is_enum(key):
            return {"enum": [str(member.value) for member in key]}
        return {name: value for name, value in self.of(key).items() if name != "type"}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _with(schema: Schema, said: Schema) -> Schema:
    """Beside a reference nothing else counts."""
    return {"allOf": [schema], **said} if said and "$ref" in schema else schema | said


def _component_name(type_: Any) -> str:
    """`Box[int]` as `Box_int`."""
    parts = [name_of(class_of(type_) or type_), *(_component_name(part) for part in get_args(type_))]
    return "_".join(re.sub(r"[^\w.-]+", "_", part, flags=re.ASCII).strip("_") for part in parts)


def _values(values: list[Any]) -> Schema:
    types = sorted({next(name for cls, name in _JSON_TYPES.items() if isinstance(value, cls)) for value in values})
    schema: Schema = {"type": types[0] if len(types) == 1 else types}
    return schema | ({"const": values[0]} if len(values) == 1 else {"enum": values})


def _is_simple(schema: Schema) -> bool:
    """Whether it says something about one type of JSON and nothing about others, so that it can be merged."""
    return isinstance(schema.get("type"), str) and not {"enum", "const", "title"} & schema.keys()


def _is_scalar(type_: Any) -> bool:
    members = alternatives(type_) if is_union(bare(type_)) else (bare(type_),)
    return all(shapes(member) <= _SCALARS for member in members)


def _is_required(field: Any) -> bool:
    if isinstance(field, attrs.Attribute):
        return cast("attrs.Attribute[Any]", field).default is attrs.NOTHING
    return field.default is _MISSING and field.default_factory is _MISSING


def _default(default: Any) -> Schema:
    """A default that is a plain value; what is made anew for each instance is not said."""
    value = default.value if isinstance(default, Enum) else default
    if isinstance(value, float) and not isfinite(value):
        return {}
    return {"default": value} if value is None or type(value) in {str, int, float, bool} else {}
