"""Handlers of the services that a configuration names."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from callboard.brokers.builder import BrokerSubscriberBuilder
from callboard.brokers.configured import transport_of
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.config import Config, import_module, import_name
from callboard.errors import ConfigError, NotProvidedError
from callboard.routing.action import Action
from callboard.routing.discovery import actions_of, check_unicast, handlers_of

__all__ = ["handled_by", "service_actions", "subscriber_of"]


def service_actions(config: Config) -> list[Action]:
    """The handlers of `config.services`, with one new instance of each class, which needs a constructor without
    arguments (classes with dependencies run as actors: `callboard run`, `System`).

    Raises `NotProvidedError` when no services are named, `ConfigError` for one that cannot be imported or made.
    """
    if not config.services:
        raise NotProvidedError("a dispatcher", "service (the setting 'services')")
    actions = [action for path in config.services for target in _targets(path) for action in _bound(path, target)]
    check_unicast(actions)
    return actions


def _targets(path: str) -> list[Any]:
    """What `module` or `module:Name` holds."""
    if ":" in path:
        return [import_name(path, "'services'")]
    try:
        module = import_module(path)
    except ImportError as error:
        raise ConfigError(f"'services': {path!r}: {error}") from error
    found = [value for value in vars(module).values() if _is_own(value, path) and handlers_of(value)]
    if not found:
        raise ConfigError(f"'services': {path!r} holds no class or function with handlers")
    return found


def _is_own(value: object, module: str) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module


def _bound(path: str, target: Any) -> Iterable[Action]:
    actions = actions_of(target, getattr(target, "name", None) or target.__name__)
    if not inspect.isclass(target):
        return actions
    try:
        instance: object = target()
    except TypeError as error:
        raise ConfigError(
            f"'services': {path!r}: {target.__name__} cannot be made without arguments: {error}"
        ) from error
    return [action.bind(instance) for action in actions]


def handled_by(actions: Iterable[Action], config: Config) -> dict[str, Action]:
    """The handlers by the names of the durables that they have as part of this service."""
    return {action.mailbox(config.group).durable: action for action in actions}


def subscriber_of(
    config: Config, actions: Iterable[Action], builder: BrokerSubscriberBuilder | None
) -> BrokerSubscriber:
    """Exactly the mailboxes of these handlers: commands and queries shared by all, events for each service."""
    mailboxes = [action.mailbox(config.group) for action in actions]
    presets = {"mailboxes": mailboxes, "transport": transport_of(config), "shared": False}
    return (builder or BrokerSubscriberBuilder()).within(config, **presets).build()
