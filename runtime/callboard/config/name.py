"""Things that a configuration names by where they are defined."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from operator import attrgetter
from types import ModuleType
from typing import Any

from callboard.errors import CallboardError, ConfigError, did_you_mean

__all__ = ["import_module", "import_name", "import_names"]


def import_name(path: str, where: str) -> Any:
    """What `package.module:Name` (or `package.module.Name`) is; `where` is the setting that says so.

    Raises `ConfigError` in one line when there is no such thing, or importing it fails; what Callboard itself raises at
    an import (a declaration that cannot work, a missing extra) passes as it is.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon:
        module_name, _, attribute = path.rpartition(".")
    if not module_name or not attribute:
        raise ConfigError(f"{where}: {path!r} is no path of the form 'package.module:Name'")
    try:
        module = import_module(module_name)
    except ImportError as error:
        if isinstance(error, CallboardError):
            raise
        raise ConfigError(f"{where}: {path!r} cannot be imported: {error}") from error
    try:
        return attrgetter(attribute)(module)
    except AttributeError:
        names = [name for name in dir(module) if not name.startswith("_")]
        hint = did_you_mean(attribute, names)
        raise ConfigError(f"{where}: {path!r} cannot be imported: {module_name} has no {attribute!r}{hint}") from None


def import_names(paths: Sequence[str], where: str) -> list[Any]:
    """What several paths name; `where` is the setting that lists them. Raises like `import_name`."""
    return [import_name(path, f"'{where}[{number}]'") for number, path in enumerate(paths)]


def import_module(name: str) -> ModuleType:
    """A module by its name. Raises `ImportError` whose text is one line for people, and `CallboardError` as it is."""
    try:
        return importlib.import_module(name)
    except CallboardError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise ImportError(f"no module named {missing!r} here or among the installed packages") from error
        raise ImportError(f"importing it failed: {error}") from error
    except Exception as error:
        raise ImportError(f"importing it failed: {type(error).__name__}: {' '.join(str(error).split())}") from error
