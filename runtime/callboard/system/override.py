"""What a configuration changes about actors that are declared."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

from attrs import evolve

from callboard.actors import ActorDeclaration
from callboard.config import Config, import_name, import_names
from callboard.errors import ConfigError, DeclarationError, did_you_mean
from callboard.routing.decorator import HandlerMark
from callboard.routing.discovery import handlers_of
from callboard.routing.failure import FailurePolicy
from callboard.routing.option import HandlerOptions
from callboard.routing.pipeline import checked_middleware

__all__ = ["SETTINGS", "check_actors", "reconfigured"]

SETTINGS = "settings"
"""The key beside an actor's options that holds the values of its settings parameter."""


def check_actors(config: Config, running: list[str]) -> None:
    """Raises `ConfigError` for a configured actor that does not run."""
    for name in config.actors:
        if name not in running:
            raise ConfigError(f"'actors.{name}': no actor of this name runs{did_you_mean(name, running)}")


def reconfigured(declaration: ActorDeclaration, config: Config) -> ActorDeclaration:
    """A declaration with the options and the middleware that `config` has for it.

    Configured options are stronger than those of the class, and those of a handler stronger than they; of an actor that
    is a function they are the strongest. Raises `ConfigError` for one that is unknown or cannot be.
    """
    where = f"'actors.{declaration.name}'"
    values = {name: value for name, value in config.actors.get(declaration.name, {}).items() if name != SETTINGS}
    middleware = import_names(config.middleware, "middleware")
    try:
        around = checked_middleware("'middleware'", middleware)
        given = HandlerOptions.checked(where, values | _failures(where, values))
        options = [_options(where, given, declaration, mark) for _, mark in handlers_of(declaration.target)]
    except DeclarationError as error:
        raise ConfigError(str(error)) from error
    actions = [
        evolve(action, options=own, policy=FailurePolicy.of(own), pipeline=action.pipeline.inside(around))
        for action, own in zip(declaration.actions, options, strict=True)
    ]
    return evolve(declaration, options=given.over(declaration.options), actions=tuple(actions))


def _options(where: str, given: HandlerOptions, declaration: ActorDeclaration, mark: HandlerMark) -> HandlerOptions:
    """The options of one handler."""
    if inspect.isclass(declaration.target):
        options = mark.options.over(given.over(declaration.options))
    else:
        options = given.over(mark.options)
    options.check_together(f"{where} ({mark.kind.value} {mark.topic!r})")
    return options


def _failures(where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The failure rules with exception types instead of their names."""
    rules = values.get("failures")
    if not isinstance(rules, Mapping):
        return {}
    named = cast("Mapping[str, Any]", rules)
    return {"failures": {_exception(f"{where}: failures", name): action for name, action in named.items()}}


def _exception(where: str, name: str) -> Any:
    """An exception type by its dotted path; those of Python need none."""
    return import_name(name if "." in name or ":" in name else f"builtins:{name}", where)
