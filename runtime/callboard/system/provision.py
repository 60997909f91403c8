"""What actors need from outside: dependencies by type, settings from the environment."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import attrs
from typed_settings.loaders import EnvLoader

from callboard.actors import ActorDeclaration
from callboard.config import read_settings
from callboard.errors import ConfigError, DeclarationError
from callboard.supervision import Supervisor

__all__ = ["Wants", "creator", "providers"]

Wants = Mapping[str, type[Any]]
"""Constructor parameters by name, each with the type that fills it."""


def providers(tree: Supervisor) -> dict[type[Any], Callable[..., Any]]:
    """All providers of a tree; a nested supervisor's own is stronger for the whole process."""
    found: dict[type[Any], Callable[..., Any]] = dict(tree.provide)
    for spec in tree.walk():
        if isinstance(spec.target, Supervisor):
            found.update(spec.target.provide)
    return found


def wants_of(declaration: ActorDeclaration, provided: Mapping[type[Any], Any]) -> Wants:
    """What a class's constructor asks for. Raises `DeclarationError` for a parameter that nothing fills."""
    cls = declaration.target
    if not inspect.isclass(cls) or cls.__init__ is object.__init__:
        return {}
    try:
        hints = get_type_hints(cls.__init__)
    except NameError as error:
        raise DeclarationError(
            f"{cls.__qualname__}.__init__",
            f"annotation {error.name!r} is not known at run time; import it outside of TYPE_CHECKING",
        ) from error
    wants: dict[str, type[Any]] = {}
    for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]:
        hint = hints.get(name)
        if inspect.isclass(hint) and (hint in provided or attrs.has(hint)):
            wants[name] = hint
        elif parameter.default is parameter.empty and parameter.kind not in {
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        }:
            shown = getattr(hint, "__name__", "no annotation")
            raise DeclarationError(
                f"{cls.__qualname__}.__init__",
                f"parameter {name!r} ({shown}) cannot be filled; add it to the supervisor: provide={{{shown}: ...}}",
            )
    return wants


def creator(
    declaration: ActorDeclaration, provided: Mapping[type[Any], Any]
) -> Callable[[Mapping[type[Any], Any]], Any]:
    """A function that makes the actor from the opened dependencies. Raises like `wants_of`."""
    wants = wants_of(declaration, provided)

    def create(resources: Mapping[type[Any], Any]) -> Any:
        if not inspect.isclass(declaration.target):
            return declaration.target
        arguments = {
            name: resources[kind] if kind in resources else _settings(declaration.name, kind)
            for name, kind in wants.items()
        }
        return declaration.target(**arguments)

    return create


def _settings(actor: str, kind: type[Any]) -> Any:
    """An attrs class filled from the environment: `<ACTOR>_<FIELD>`, in capitals."""
    try:
        return read_settings(kind, [EnvLoader(prefix=f"{actor.upper().replace('-', '_')}_")])
    except ConfigError as error:
        raise ConfigError(f"settings of {actor}: {error}") from error
