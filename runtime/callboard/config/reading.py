"""Several sources of settings, the later ones stronger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import attrs
import typed_settings as ts
import yaml
from attrs import field, frozen
from typed_settings import cls_utils
from typed_settings.converters import get_path_converter_from
from typed_settings.dict_utils import get_path, set_path
from typed_settings.exceptions import InvalidSettingsError, TsError
from typed_settings.loaders import EnvLoader
from typed_settings.types import LoadedSettings, LoaderMeta, OptionInfo, OptionList, SettingsDict

from callboard.config.value import fitted, make_converter
from callboard.errors import ConfigError, did_you_mean

__all__ = ["SHORT", "Environment", "Origin", "Source", "read_file", "read_settings"]

T = TypeVar("T")

SECTION = "callboard"
SHORT = "short"
"""Metadata of a section: the key that a plain value stands for, instead of the section."""


# typed-settings parses the source of every class at every load, for help texts that nobody sees here: 65 ms each time.
if hasattr(cls_utils, "_get_attr_docs"):
    setattr(cls_utils, "_get_attr_docs", cache(getattr(cls_utils, "_get_attr_docs")))  # noqa: B009, B010


class Origin(Protocol):
    """Where settings come from."""

    def load(self, kind: type[Any], options: OptionList) -> SettingsDict:
        """What it says, as nested mappings. Raises `ConfigError` for a key that is none."""
        ...

    def place(self, option: OptionInfo) -> str:
        """Where it says it, for an error."""
        ...

    @property
    def folder(self) -> Path:
        """What relative paths in it start from."""
        ...


@frozen
class Source:
    """Plain values, nested as the settings are. None says nothing, unless it is the default."""

    values: Mapping[str, Any]
    label: str = ""
    """What stands before a key in errors, such as `config.yml: `."""
    folder: Path = field(factory=Path.cwd)

    def load(self, kind: type[Any], options: OptionList) -> SettingsDict:  # noqa: ARG002
        return _section(kind, self.values, self.label)

    def place(self, option: OptionInfo) -> str:
        return f"{self.label}{option.path!r}"


@frozen
class Environment:
    """Variables named like the keys: prefix, then the parts of the key in capitals, joined with `_`."""

    prefix: str
    folder: Path = field(factory=Path.cwd)

    def load(self, kind: type[Any], options: OptionList) -> SettingsDict:
        return EnvLoader(self.prefix)(kind, options).settings

    def place(self, option: OptionInfo) -> str:
        return EnvLoader(self.prefix).get_envvar(option)


def read_file(file: Path) -> Source:
    """The settings in a YAML file's section `callboard`; its other sections are somebody else's.

    Raises `ConfigError` when it is missing, no YAML (nothing of its text is shown), or without that section.
    """
    try:
        values: Any = yaml.safe_load(file.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"configuration file {str(file)!r} does not exist") from None
    except OSError as error:
        raise ConfigError(f"configuration file {str(file)!r} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"configuration file {str(file)!r} is no YAML{where}") from None
    return Source(_own_section(file, values), f"{file}: ", file.absolute().parent)


def _own_section(file: Path, values: Any) -> Mapping[str, Any]:
    sections = cast("Mapping[str, Any]", values if isinstance(values, Mapping) else {})
    if SECTION not in sections:
        hint = did_you_mean(SECTION, [str(name) for name in sections])
        raise ConfigError(f"configuration file {str(file)!r} has no section {SECTION!r} for the settings{hint}")
    settings = sections[SECTION]
    if not isinstance(settings, Mapping | None):
        raise ConfigError(f"{file}: {SECTION!r} must be a section with settings")
    return cast("Mapping[str, Any]", settings or {})


def read_settings(kind: type[T], origins: Iterable[Origin], make: Callable[..., Any] | None = None) -> T:
    """Settings of any attrs class from these origins, the later ones stronger; `make` replaces the class's constructor.

    Raises `ConfigError` in one line that names the setting and where it stands.
    """
    converter: Any = make_converter()  # typed-settings' protocol has another name for a parameter
    if make is not None:
        converter.register_structure_hook(kind, partial(_made, make, converter))
    try:
        return ts.load_settings(kind, [_Loader(origin, converter) for origin in origins], converter=converter)
    except (TsError, ValueError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError("; ".join(_lines(error))) from error


def _made(make: Callable[..., Any], converter: Any, values: SettingsDict, _: type[Any]) -> Any:
    return make(values, converter)


@frozen
class _Loader:
    """Lets only values through that fit."""

    origin: Origin
    converter: Any

    def __call__(self, settings_cls: type[Any], options: OptionList) -> LoadedSettings:
        values = self.origin.load(settings_cls, options)
        with get_path_converter_from(self.converter).chdir(self.origin.folder):
            for option in options:
                try:
                    value = get_path(values, option.path)
                except KeyError:
                    continue
                set_path(values, option.path, fitted(option, value, self.converter, self.origin.place(option)))
        return LoadedSettings(values, LoaderMeta(type(self.origin).__name__, self.origin.folder))


def _section(kind: type[Any], values: Mapping[str, Any], label: str, above: str = "") -> SettingsDict:
    """The values of a section, nested ones too. Raises `ConfigError` for a key that is none."""
    known = {attribute.alias: attribute for attribute in _settings_of(kind)}
    found: SettingsDict = {}
    for key, value in values.items():
        path = f"{above}{key}"
        if key not in known:
            hint = did_you_mean(path, [f"{above}{name}" for name in _paths(kind)])
            raise ConfigError(f"{label}unknown setting {path!r}{hint}")
        attribute = known[key]
        if value is None and attribute.default is not None:
            continue
        inner: Any = attribute.type
        if attrs.has(inner):
            found[key] = _section(inner, _inside(attribute, value, f"{label}{path!r}"), label, f"{path}.")
        else:
            found[key] = value
    return found


def _inside(attribute: attrs.Attribute[Any], value: Any, place: str) -> Mapping[str, Any]:
    """What stands in a section: a mapping, an instance, or the one value that the section can be written as."""
    kind = cast("type[Any]", type(value))
    if attrs.has(kind):
        return {inner.name: getattr(value, inner.name) for inner in attrs.fields(kind)}
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    if SHORT in attribute.metadata:
        return {attribute.metadata[SHORT]: value}
    raise ConfigError(f"{place} must be a section with settings of its own")


def _paths(kind: type[Any]) -> list[str]:
    """All keys of a class, sections included."""
    found: list[str] = []
    for attribute in _settings_of(kind):
        inner: Any = attribute.type
        found.append(str(attribute.alias))
        found += [f"{attribute.alias}.{path}" for path in (_paths(inner) if attrs.has(inner) else [])]
    return found


def _settings_of(kind: type[Any]) -> list[attrs.Attribute[Any]]:
    return [attribute for attribute in attrs.fields(attrs.resolve_types(kind)) if attribute.init]


def _lines(error: Exception) -> list[str]:
    """What is wrong, innermost first, each on one line."""
    if isinstance(error, InvalidSettingsError):
        causes = cast("ExceptionGroup[Exception]", error).exceptions
        return [line for cause in causes for line in _lines(cause)]
    return [" ".join(str(error).split())]
