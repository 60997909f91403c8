"""What the command line is asked to run."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from callboard.actors import is_actor
from callboard.errors import CallboardError, TargetError, did_you_mean
from callboard.supervision import Supervisor
from callboard.system.system import Service

__all__ = ["load_services", "service_name"]


def load_services(targets: list[str], name: str | None = None) -> list[Service]:
    """Each target as a service: `module` (all its actors, or its module-level `Supervisor`) or `module:Name`.

    The current folder is importable. A service is called `name`, else like its module's last part. Raises
    `TargetError` in one line for what cannot be imported or holds nothing to run.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return [Service(name or service_name(target), _tree(target)) for target in targets]


def service_name(target: str) -> str:
    """The service's name unless another is given: its module's last part."""
    return target.partition(":")[0].rpartition(".")[2]


def _tree(target: str) -> Supervisor:
    module_name, _, attribute = target.partition(":")
    module = _import(target, module_name)
    if attribute:
        return _named(target, module, attribute)
    supervisors = _top_level(module)
    if len(supervisors) > 1:
        raise TargetError(
            target,
            f"has {len(supervisors)} supervisors ({', '.join(supervisors)}); "
            f"name one: {target}:{next(iter(supervisors))}",
        )
    if supervisors:
        return next(iter(supervisors.values()))
    actors = [value for value in vars(module).values() if is_actor(value) and value.__module__ == module.__name__]
    if not actors:
        raise TargetError(target, "holds no actors: no class or function with @command, @query or @event")
    return Supervisor(actors)


def _import(target: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except CallboardError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise TargetError(target, f"no module named {missing!r} here or among the installed packages") from error
        raise TargetError(target, f"importing it failed: {error}") from error
    except Exception as error:
        raise TargetError(
            target, f"importing it failed: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error


def _named(target: str, module: ModuleType, attribute: str) -> Supervisor:
    names = [name for name in vars(module) if not name.startswith("_")]
    if not hasattr(module, attribute):
        raise TargetError(target, f"{module.__name__} has no {attribute!r}{did_you_mean(attribute, names)}")
    value: Any = getattr(module, attribute)
    if isinstance(value, Supervisor):
        return value
    if not is_actor(value):
        kind = "class" if inspect.isclass(value) else type(value).__name__
        raise TargetError(
            target, f"the {kind} {attribute!r} is no actor: it has no method with @command, @query or @event"
        )
    return Supervisor([value])


def _top_level(module: ModuleType) -> dict[str, Supervisor]:
    """The module's supervisors that no other one of them contains."""
    found = {name: value for name, value in vars(module).items() if isinstance(value, Supervisor)}
    nested = {id(spec.target) for tree in found.values() for spec in tree.walk()}
    return {name: tree for name, tree in found.items() if id(tree) not in nested}
