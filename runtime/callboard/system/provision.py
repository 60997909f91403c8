"""What actors need from outside: dependencies by type, settings from the configuration and the environment."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import attrs

from callboard.actors import ActorDeclaration
from callboard.config import Config, Environment, Origin, Source, import_name, read_settings
from callboard.errors import ConfigError, DeclarationError
from callboard.supervision import Supervisor

__all__ = ["Provider", "Wants", "configured_providers", "creator", "providers"]

Wants = Mapping[str, type[Any]]
"""Constructor parameters by name, each with the type that fills it."""

Provider = Callable[..., Any]
"""An async context-manager function that opens a dependency."""


def providers(tree: Supervisor) -> dict[type[Any], Provider]:
    """All providers of a tree; a nested supervisor's own is stronger for the whole process."""
    found: dict[type[Any], Provider] = dict(tree.provide)
    for spec in tree.walk():
        if isinstance(spec.target, Supervisor):
            found.update(spec.target.provide)
    return found


def configured_providers(config: Config) -> dict[type[Any], Provider]:
    """The providers that a configuration names. Raises `ConfigError` for what cannot be imported or is none."""
    found: dict[type[Any], Provider] = {}
    for kind_name, opener_name in config.dependencies.items():
        where = f"'dependencies.{kind_name}'"
        kind, opener = import_name(kind_name, where), import_name(opener_name, where)
        if not isinstance(kind, type) or not callable(opener):
            raise ConfigError(f"{where}: {opener_name!r} must be an async context-manager function, and the key a type")
        found[kind] = opener
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
    declaration: ActorDeclaration, provided: Mapping[type[Any], Any], settings: Mapping[str, Any] | None = None
) -> Callable[[Mapping[type[Any], Any]], Any]:
    """A function that makes the actor from the opened dependencies.

    `settings` are what the configuration says about its parameter of that name; the environment (`<ACTOR>_<FIELD>`, in
    capitals) is stronger. Raises like `wants_of`, and `ConfigError` for settings that are missing or do not fit.
    """
    wants = wants_of(declaration, provided)
    if settings and "settings" not in wants:
        where = f"'actors.{declaration.name}.settings'"
        raise ConfigError(f"{where}: its constructor has no parameter 'settings' of an attrs class")
    filled = {
        name: _settings(declaration.name, kind, settings if name == "settings" else None)
        for name, kind in wants.items()
        if kind not in provided
    }

    def create(resources: Mapping[type[Any], Any]) -> Any:
        if not inspect.isclass(declaration.target):
            return declaration.target
        opened = {name: resources[kind] for name, kind in wants.items() if name not in filled}
        return declaration.target(**opened, **filled)

    return create


def _settings(actor: str, kind: type[Any], values: Mapping[str, Any] | None) -> Any:
    origins: list[Origin] = [
        Source(values or {}, f"actors.{actor}.settings: "),
        Environment(f"{actor.upper().replace('-', '_')}_"),
    ]
    try:
        return read_settings(kind, origins)
    except ConfigError as error:
        raise ConfigError(f"settings of {actor}: {error}") from error
