"""Targets of the command line as one system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from callboard.actors import declaration_of
from callboard.config import Config
from callboard.supervision import Supervisor
from callboard.system.system import Service, System
from callboard.system.target import load_services

__all__ = ["assemble"]


def assemble(targets: Sequence[str], config: Config, **options: Any) -> System:
    """The system that runs these targets, or those of the configuration, not started yet; `options` are `System`'s.

    What a configuration says about actors of other targets does not count. Raises `TargetError`, `ConfigError` and
    `DeclarationError`.
    """
    services = load_services(targets or config.services, config.name or None, config.supervision)
    if targets:
        config = config.over(actors=_only(config.actors, services))
    return System(services, config=config, **options)


def _only(actors: Mapping[str, Any], services: Sequence[Service]) -> dict[str, Any]:
    """What a configuration says about actors that are here; it may be for more services than were asked for."""
    specs = [spec for service in services for spec in service.tree.walk()]
    here = {declaration_of(spec.target).name for spec in specs if not isinstance(spec.target, Supervisor)}
    return {name: options for name, options in actors.items() if name in here}
