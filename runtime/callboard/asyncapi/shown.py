"""Schemas as people read them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from callboard.asyncapi.markup import Html, inline, join, prose, tag
from callboard.asyncapi.schema import Schema

__all__ = ["fields", "link", "type_of"]

_OR = " | "


def link(kind: str, name: str, text: str = "") -> Html:
    """A link to what is described elsewhere on the page."""
    return tag("a", text or name, href=f"#{kind}-{name}")


def type_of(schema: Schema) -> Html:
    """What a schema says, in a few words."""
    for keyword, show in _SHOWN.items():
        if keyword in schema:
            return show(schema)
    return Html("anything")


def fields(schema: Schema) -> Html:
    """The fields of an object as a table, those inside of them included."""
    properties: Mapping[str, Schema] = schema.get("properties", {})
    rows = [_row(name, part, required=name in schema.get("required", ())) for name, part in properties.items()]
    return tag("table", tag("tbody", *rows)) if rows else Html()


def _row(name: str, schema: Schema, *, required: bool) -> Html:
    notes: list[Html] = [] if required else [tag("span", _optional(schema), class_="quiet")]
    described = prose(schema["description"]) if "description" in schema else Html()
    inner = fields(schema) if schema.get("type") == "object" else Html()
    return tag(
        "tr",
        tag("th", tag("code", name), scope="row"),
        tag("td", type_of(schema), *(join([" ", note]) for note in notes)),
        tag("td", described, inner),
    )


def _optional(schema: Schema) -> str:
    return f"default {_json(schema['default'])}" if "default" in schema else "optional"


def _reference(schema: Schema) -> Html:
    return link("type", schema["$ref"].rpartition("/")[2])


def _all(schema: Schema) -> Html:
    """A reference with something said about it, or a class with its tag."""
    base, *others = schema["allOf"]
    tags = [(name, value) for part in others for name, value in part["properties"].items()]
    return join([type_of(base), *(join([f" with {name}: ", type_of(value)]) for name, value in tags)])


def _any(schema: Schema) -> Html:
    return join(map(type_of, schema["anyOf"]), _OR)


def _typed(schema: Schema) -> Html:
    name: str | list[str] = schema["type"]
    if isinstance(name, list):
        return join((type_of(schema | {"type": one}) for one in name), _OR)
    show = _NAMED.get(name)
    return show(schema) if show is not None else Html(name)


def _array(schema: Schema) -> Html:
    items: Schema | list[Schema] | None = schema.get("items")
    if isinstance(items, list):
        return join(["[", join(map(type_of, items), ", "), "]"])
    kind = "set" if schema.get("uniqueItems") else "array"
    return join([kind, " of ", type_of(items)]) if items else Html("array")


def _object(schema: Schema) -> Html:
    values: Schema = schema.get("additionalProperties", {})
    keys: Schema = schema.get("propertyNames", {})
    if not values and not keys:
        return Html("object")
    by = join([" by ", type_of({"type": "string"} | keys)]) if keys else Html()
    return join(["object of ", type_of(values), by])


def _text(schema: Schema) -> Html:
    note = schema.get("title") or schema.get("format") or schema.get("contentEncoding")
    if note:
        return Html(inline(f"string ({note})"))
    if schema.get("pattern"):
        return join(["string ", tag("code", schema["pattern"])])
    return Html("string")


def _value(value: Any) -> Html:
    return tag("code", _json(value))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_SHOWN: Mapping[str, Callable[[Schema], Html]] = {
    "$ref": _reference,
    "allOf": _all,
    "anyOf": _any,
    "const": lambda schema: _value(schema["const"]),
    "enum": lambda schema: join(map(_value, schema["enum"]), _OR),
    "type": _typed,
}
_NAMED: Mapping[str, Callable[[Schema], Html]] = {"array": _array, "object": _object, "string": _text}
