"""Settings of a service: a YAML file, the environment over it, keyword arguments over both."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, cast

import typed_settings as ts
from attrs import Attribute, evolve, field, fields, frozen, validators
from typed_settings.converters import get_default_cattrs_converter
from typed_settings.exceptions import InvalidOptionsError, InvalidSettingsError, TsError
from typed_settings.loaders import EnvLoader, FileLoader, Loader, YamlFormat

from callboard.errors import ConfigError, did_you_mean

__all__ = ["Manage", "Settings", "StreamSettings", "load_settings", "read_settings"]

T = TypeVar("T")

DAY = 24 * 3600.0


def _one_of(*known: object) -> Callable[[Any, Attribute[Any], object], None]:
    def check(_: Any, attribute: Attribute[Any], value: object) -> None:
        if value not in known:
            raise ValueError(f"{attribute.name!r} must be one of {', '.join(map(str, known))}, not {value!r}")

    return check


class Manage(StrEnum):
    """What Callboard may do to streams and durables on the server."""

    MANAGE = "manage"
    """Create what is missing, change what differs from the code."""
    VERIFY = "verify"
    """Change nothing; refuse to run when something is missing or differs."""
    OFF = "off"
    """Change nothing; only what is missing is an error."""


@frozen
class StreamSettings:
    """What Callboard says about streams that it creates."""

    max_age: float = field(default=7 * DAY, validator=validators.gt(0))
    """Seconds that messages are kept."""
    duplicate_window: float = field(default=300.0, validator=validators.gt(0))
    """Seconds in which a repeated message is stored once."""
    replicas: int = field(default=1, validator=_one_of(1, 3, 5))
    """Copies in a cluster."""
    manage: Manage = Manage.MANAGE
    """Whether streams and durables are created and changed."""


@frozen
class Settings:
    """Everything that `callboard run --config` reads."""

    nats: str = ""
    """Comma-separated addresses; empty: `NATS_URL`, else `nats://127.0.0.1:4222`."""
    name: str = ""
    """The service's name; empty: the target's."""
    workers: int = field(default=1, validator=validators.ge(1))
    grace: float = field(default=30.0, validator=validators.ge(0))
    """Seconds that running handlers get to finish at a stop."""
    log_level: str = field(default="info", validator=_one_of("debug", "info", "warning", "error"))
    streams: StreamSettings = StreamSettings()


def load_settings(file: Path | None = None, **overrides: Any) -> Settings:
    """Settings from a YAML file (section `callboard`), the environment (`CALLBOARD_GRACE`,
    `CALLBOARD_STREAMS_REPLICAS`) and `overrides`, the later ones stronger; overrides that are None say nothing.

    Raises `ConfigError` for a file that is missing or malformed, an unknown key and a value that does not fit.
    """
    if file is not None and not file.is_file():
        raise ConfigError(f"configuration file {str(file)!r} does not exist")
    loaders: list[Loader] = [EnvLoader(prefix="CALLBOARD_")]
    if file is not None:
        loaders.insert(0, FileLoader({"*": YamlFormat(section="callboard")}, [file]))
    given = {name: value for name, value in overrides.items() if value is not None}
    return read_settings(Settings, loaders, **given)


def read_settings(kind: type[T], loaders: list[Loader], **overrides: Any) -> T:
    """Settings of any attrs class, from `loaders` and `overrides`, the later ones stronger.

    Raises `ConfigError` in one line that names the setting.
    """
    converter: Any = get_default_cattrs_converter()
    converter.detailed_validation = False  # its summary of a nested class leaves out what is wrong
    try:
        settings: Any = ts.load_settings(kind, loaders, converter=converter)
        return cast("T", evolve(settings, **overrides))
    except InvalidOptionsError as error:
        text, _, keys = str(error).rpartition(": ")
        key = keys.split(",")[0].strip().rpartition(".")[2]
        raise ConfigError(f"{text}: {keys}{did_you_mean(key, _KEYS)}") from error
    except (TsError, ValueError, TypeError) as error:
        raise ConfigError("; ".join(_lines(error))) from error


_KEYS = [field.name for kind in (Settings, StreamSettings) for field in fields(kind)]


def _lines(error: Exception) -> list[str]:
    """What is wrong, innermost first, each on one line."""
    if isinstance(error, InvalidSettingsError):
        causes = cast("ExceptionGroup[Exception]", error).exceptions
        return [line for cause in causes for line in _lines(cause)]
    return [" ".join(str(error).split())]
