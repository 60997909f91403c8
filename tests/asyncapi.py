"""What holds for every AsyncAPI document: it fits the specification's schema, and what it refers to is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema

from callboard.asyncapi import asyncapi_document
from callboard.config import Config
from callboard.supervision import Supervisor
from callboard.system.system import System

__all__ = ["check_document", "described", "fits", "resolve"]

_SPECIFICATION = Path(__file__).parent / "asyncapi-spec" / "asyncapi-3.0.0.json"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_FORMATS = jsonschema.FormatChecker(["date", "uuid"])


@_FORMATS.checks("date-time", raises=ValueError)
def _is_rfc3339(text: object) -> bool:
    """jsonschema checks this one only with a further package."""
    return not isinstance(text, str) or bool(_RFC3339.fullmatch(text) and datetime.fromisoformat(text))


@cache
def _specification() -> Any:
    return jsonschema.Draft7Validator(json.loads(_SPECIFICATION.read_text()))


def described(*actors: Any, **options: Any) -> dict[str, Any]:
    """The document of actors in the service `shop`, checked."""
    document = asyncapi_document(System(Supervisor([*actors]), config=Config(name="shop")).declarations, **options)
    check_document(document)
    return document


def check_document(document: Mapping[str, Any]) -> None:
    """Fails when a document breaks the specification, or refers to what is not there."""
    wrong = [f"{error.json_path}: {error.message:.300}" for error in _specification().iter_errors(document)]
    assert not wrong, wrong
    for reference in _references(document):
        resolve(document, reference)
    for name, operation in document["operations"].items():
        for said in filter(None, (operation, operation.get("reply"))):
            carried = resolve(document, said["channel"]["$ref"])["messages"]
            assert {it["$ref"].rpartition("/")[2] for it in said["messages"]} <= carried.keys(), name


def resolve(document: Mapping[str, Any], reference: str) -> Any:
    """What a reference leads to, at its end."""
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return resolve(document, found["$ref"]) if "$ref" in found else found


def fits(document: Mapping[str, Any], schema: Mapping[str, Any], value: object) -> bool:
    """Whether a value fits a schema of a document, formats included."""
    validator: Any = jsonschema.Draft7Validator(
        {"allOf": [schema], "components": document["components"]}, format_checker=_FORMATS
    )
    return bool(validator.is_valid(value))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for part in cast("list[Any]", value):
            yield from _references(part)
    elif isinstance(value, dict):
        for name, part in cast("dict[str, Any]", value).items():
            yield from [part] if name == "$ref" else _references(part)
