"""What an actor class or function declares, read once and checked where it stands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from typing import Any, cast

from attrs import frozen

from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.topic import TopicTemplate, check_topic
from callboard.errors import DeclarationError
from callboard.routing.action import Action
from callboard.routing.discovery import actions_of, handlers_of, options_of
from callboard.routing.option import HandlerOptions

__all__ = ["ActorDeclaration", "declaration_of", "declare_class", "is_actor"]

_DECLARATION = "__callboard_declaration__"
_MIDDLEWARE = "middleware"
_MISSPELLING = 0.85
"""Similarity from which an attribute counts as a misspelled option: `concurency`, `timout`."""


@frozen(eq=False)
class ActorDeclaration:
    """An actor before it runs."""

    name: str
    target: Callable[..., Any]
    """The class, or the one function that is the whole actor."""
    actions: tuple[Action, ...]
    options: HandlerOptions
    publishes: Mapping[str, Any] = {}
    renamed_from: str | None = None

    @property
    def concurrency(self) -> int:
        """Messages at once in each process."""
        return self.options.concurrency or 1

    def mailboxes(self, service: str) -> list[tuple[Action, MailboxSpec]]:
        """Each handler with its mailbox in a service."""
        return [(action, action.mailbox(service, self.renamed_from)) for action in self.actions]


def is_actor(target: object) -> bool:
    """Whether `target` is a class or function with handlers."""
    return bool(handlers_of(target))


def declaration_of(target: Any) -> ActorDeclaration:
    """The declaration of an actor class or function. Raises `DeclarationError` when it is none."""
    if not is_actor(target):
        if inspect.isclass(target):
            raise DeclarationError(
                target.__qualname__, "has no handlers; decorate a method with @command, @query or @event"
            )
        raise DeclarationError(repr(target), "is no actor: give a class or a function with handlers")
    if not inspect.isclass(target):
        return _declare_function(target)
    declared = target.__dict__.get(_DECLARATION)
    return declared if isinstance(declared, ActorDeclaration) else declare_class(target)


def declare_class(cls: type) -> ActorDeclaration:
    """Read and check a class, and remember the result on it."""
    _check_spelling(cls)
    name = _name(cls)
    declaration = ActorDeclaration(
        name=name,
        target=cls,
        actions=actions_of(cls, name),
        options=options_of(cls),
        publishes=_publishes(cls.__qualname__, getattr(cls, "publishes", {})),
        renamed_from=getattr(cls, "renamed_from", None),
    )
    setattr(cls, _DECLARATION, declaration)
    return declaration


def _name(cls: type) -> str:
    name = getattr(cls, "name", None)
    return _checked_name(cls.__qualname__, name if isinstance(name, str) else cls.__name__)


def _checked_name(where: str, name: str) -> str:
    if not name or not name.replace("-", "").replace("_", "").isalnum():
        raise DeclarationError(where, f"an actor's name is made of letters, digits, '-' and '_'; not {name!r}")
    return name


def _declare_function(function: Callable[..., Any]) -> ActorDeclaration:
    name = _checked_name(function.__qualname__, function.__name__)
    actions = actions_of(function, name)
    widest = max((action.options.concurrency or 1 for action in actions), default=1)
    return ActorDeclaration(name=name, target=function, actions=actions, options=HandlerOptions(concurrency=widest))


def _check_spelling(cls: type) -> None:
    """Refuse an attribute that nearly is an option. Plurals (`orders`) are words of their own."""
    options = (*HandlerOptions.names(), _MIDDLEWARE)
    for name, value in vars(cls).items():
        if name.startswith("_") or name in options or callable(value) or isinstance(value, property):
            continue
        for option in options:
            near = SequenceMatcher(None, name, option).ratio() >= _MISSPELLING
            if near and (name != f"{option}s" or option == _MIDDLEWARE):
                raise DeclarationError(cls.__qualname__, f"unknown option {name!r}; did you mean {option!r}?")


def _publishes(where: str, publishes: Any) -> dict[str, Any]:
    if not isinstance(publishes, Mapping):
        raise DeclarationError(where, f"publishes maps topics to types, not {publishes!r}")
    declared = dict(cast("Mapping[str, Any]", publishes))
    for topic in declared:
        if "{" in topic:
            TopicTemplate.parse(topic)
        else:
            check_topic(topic)
    return declared
