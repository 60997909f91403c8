"""What the command line is asked to run."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from callboard.actors import is_actor
from callboard.config import SupervisionSettings, import_module
from callboard.errors import CallboardError, TargetError, did_you_mean
from callboard.supervision import RestartIntensity, Supervisor
from callboard.system.system import Service

__all__ = ["load_services", "service_name"]


def load_services(
    targets: Sequence[str], name: str | None = None, supervision: SupervisionSettings | None = None
) -> list[Service]:
    """The services of targets, each `module` (all its actors, or its module-level `Supervisor`) or `module:Name`.

    The current folder is importable. A service is called `name`, else like its module's last part; targets of one name
    are one service. `supervision` is for actors without a supervisor of their own, which are siblings. Raises
    `TargetError` in one line for what cannot be imported or holds nothing to run.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    settings = supervision or SupervisionSettings()
    supervise = partial(
        Supervisor, strategy=settings.strategy, intensity=RestartIntensity(settings.max_restarts, settings.period)
    )
    children: dict[str, list[Any]] = {}
    for target in targets:
        children.setdefault(name or service_name(target), []).extend(_children(target))
    return [Service(each, _root(each, members, supervise)) for each, members in children.items()]


def service_name(target: str) -> str:
    """The service's name unless another is given: its module's last part."""
    return target.partition(":")[0].rpartition(".")[2]


def _root(name: str, children: Sequence[Any], supervise: partial[Supervisor]) -> Supervisor:
    match children:
        case [Supervisor() as own]:
            return own
        case _:
            return supervise(children, name=name)


def _children(target: str) -> Sequence[Any]:
    """Actors, or one supervisor of their own."""
    module_name, _, attribute = target.partition(":")
    module = _import(target, module_name)
    if attribute:
        return [_named(target, module, attribute)]
    supervisors = _top_level(module)
    if len(supervisors) > 1:
        raise TargetError(
            target,
            f"has {len(supervisors)} supervisors ({', '.join(supervisors)}); "
            f"name one: {target}:{next(iter(supervisors))}",
        )
    if supervisors:
        return [*supervisors.values()]
    actors = [value for value in vars(module).values() if is_actor(value) and value.__module__ == module.__name__]
    if not actors:
        raise TargetError(target, "holds no actors: no class or function with @command, @query or @event")
    return actors


def _import(target: str, name: str) -> ModuleType:
    try:
        return import_module(name)
    except CallboardError:
        raise
    except ImportError as error:
        raise TargetError(target, str(error)) from error


def _named(target: str, module: ModuleType, attribute: str) -> Any:
    """The supervisor or actor of that name."""
    names = [name for name in vars(module) if not name.startswith("_")]
    if not hasattr(module, attribute):
        raise TargetError(target, f"{module.__name__} has no {attribute!r}{did_you_mean(attribute, names)}")
    value: Any = getattr(module, attribute)
    if not isinstance(value, Supervisor) and not is_actor(value):
        kind = "class" if inspect.isclass(value) else type(value).__name__
        raise TargetError(
            target, f"the {kind} {attribute!r} is no actor: it has no method with @command, @query or @event"
        )
    return value


def _top_level(module: ModuleType) -> dict[str, Supervisor]:
    """The module's supervisors that no other one of them contains."""
    found = {name: value for name, value in vars(module).items() if isinstance(value, Supervisor)}
    nested = {id(spec.target) for tree in found.values() for spec in tree.walk()}
    return {name: tree for name, tree in found.items() if id(tree) not in nested}
