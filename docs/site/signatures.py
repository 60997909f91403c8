"""attrs writes `__init__` when a class is made; a reader of the source alone would not see it."""

from __future__ import annotations

import inspect
from typing import Any

import attrs
from griffe import Attribute, Class, ExprCall, ExprKeyword, Extension, Function, Parameter, ParameterKind, Parameters
from griffe import dynamic_import as imported

__all__ = ["AttrsSignatures"]

DECORATORS = {"attrs.frozen", "attrs.define"}


class AttrsSignatures(Extension):
    """Shows attrs classes as what they are made into: with a signature, and with attributes instead of `field(...)`."""

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Called for each class that was read."""
        if not any(decorator.callable_path in DECORATORS for decorator in cls.decorators):
            return
        for member in cls.members.values():
            if isinstance(member, Attribute) and "instance-attribute" in member.labels:
                member.value = _default(member)
                member.labels -= {"class-attribute", "instance-attribute"}
        if "__init__" not in cls.members and attrs.has(made := imported(cls.path)):
            parameters = [_parameter(cls, each) for each in inspect.signature(made).parameters.values()]
            cls.set_member("__init__", Function("__init__", parameters=Parameters(*parameters)))


def _default(attribute: Attribute) -> Any:
    """None where there is none; dots for what is made anew each time."""
    value = attribute.value
    if not (isinstance(value, ExprCall) and value.canonical_path == "attrs.field"):
        return value
    told = {each.name: each.value for each in value.arguments if isinstance(each, ExprKeyword)}
    default = "..." if "factory" in told else told.get("default")
    return "..." if str(default).startswith("Factory(") else default


def _parameter(cls: Class, real: inspect.Parameter) -> Parameter:
    """Names and kinds are those of the class as it is, annotations and defaults as they are written."""
    kind = ParameterKind(real.kind.description)
    written = cls.members.get(real.name) or cls.members.get(f"_{real.name}")
    if isinstance(written, Attribute):
        return Parameter(real.name, annotation=written.annotation, kind=kind, default=written.value)
    default = None if real.default is real.empty else repr(real.default)
    return Parameter(real.name, annotation=str(real.annotation), kind=kind, default=default)
