"""Calling constructors with what a configuration says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any, Self, TypeVar

from callboard.config.config import Config
from callboard.errors import ConfigError, did_you_mean

__all__ = ["Configured", "construct"]

T = TypeVar("T")


class Configured:
    """Something that can be built from a configuration."""

    @classmethod
    def from_config(cls, config: Config, **options: Any) -> Self:
        """An instance as `config` says; `options` are arguments of the constructor, and stronger.

        Raises `ConfigError` for an option that the constructor does not know, and for an argument that neither gives.
        """
        return construct(cls, cls._configured(config), options)

    @classmethod
    def _from_config(cls, config: Config, **options: Any) -> Self:
        """`from_config` under its older name."""
        return cls.from_config(config, **options)

    @classmethod
    def _configured(cls, config: Config) -> Mapping[str, Any]:  # noqa: ARG003
        """What a configuration says about the constructor's arguments."""
        return {}


def construct(
    make: Callable[..., T], configured: Mapping[str, Any], options: Mapping[str, Any], *, who: str | None = None
) -> T:
    """Call a class or function with `options`, and with as much of `configured` as it takes and `options` do not say.

    Raises `ConfigError` for an option that it does not know, and for an argument that is missing.
    """
    who = who or str(getattr(make, "__name__", make))
    parameters = signature(make).parameters
    known = [name for name, parameter in parameters.items() if parameter.kind is not Parameter.VAR_KEYWORD]
    for name in options if len(known) == len(parameters) else ():
        if name not in known:
            raise ConfigError(f"{who}: unknown option {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})")
    arguments = {name: value for name, value in configured.items() if name in known} | dict(options)
    for name, parameter in parameters.items():
        required = parameter.default is Parameter.empty and parameter.kind is not Parameter.VAR_KEYWORD
        if required and name not in arguments:
            raise ConfigError(f"{who} needs {name!r}; give it as a keyword argument")
    return make(**arguments)
