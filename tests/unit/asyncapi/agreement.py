"""What a schema and the codec say of a value."""

from __future__ import annotations

import json
from typing import Any

from callboard.asyncapi.schema import Schemas
from callboard.codec import JSON
from callboard.errors import ContentDecodeError
from tests.asyncapi import fits

__all__ = ["accepts", "reads"]


def accepts(type_: Any, value: object) -> bool:
    """Whether a value of JSON fits the schema of a type."""
    schemas = Schemas()
    schema = schemas.of(type_)
    return fits({"components": {"schemas": schemas.components}}, schema, value)


def reads(type_: Any, value: object) -> bool:
    """Whether the codec reads a value of JSON as a type."""
    try:
        JSON.loads(json.dumps(value).encode(), type_)
    except ContentDecodeError:
        return False
    return True
