"""What an actor class or function declares, read once and checked where it stands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import SequenceMatcher
from typing import Any, cast

from attrs import frozen

from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.topic import TopicTemplate, check_topic, overlap
from callboard.errors import DeclarationError, RedefinedActionError
from callboard.routing.action import Action
from callboard.routing.decorator import marks_of
from callboard.routing.option import HandlerOptions

__all__ = ["ActorDeclaration", "check_unicast", "declaration_of", "declare_class", "is_actor"]

_DECLARATION = "__callboard_declaration__"
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
    if inspect.isclass(target):
        return any(marks_of(member) for _, member in _members(target))
    return inspect.isfunction(target) and bool(marks_of(target))


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
    _check_methods(cls)
    where = cls.__qualname__
    name = _name(cls)
    values = {option: value for option in HandlerOptions.names() if (value := getattr(cls, option, None)) is not None}
    options = HandlerOptions.checked(where, values)
    actions = tuple(
        Action.declare(function, mark, name, options, bound=True)
        for _, function in _members(cls)
        for mark in marks_of(function)
    )
    check_unicast(actions)
    declaration = ActorDeclaration(
        name=name,
        target=cls,
        actions=actions,
        options=options,
        publishes=_publishes(where, getattr(cls, "publishes", {})),
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
    actions = tuple(Action.declare(function, mark, name, HandlerOptions(), bound=False) for mark in marks_of(function))
    check_unicast(actions)
    widest = max((action.options.concurrency or 1 for action in actions), default=1)
    return ActorDeclaration(name=name, target=function, actions=actions, options=HandlerOptions(concurrency=widest))


def _members(cls: type) -> list[tuple[str, Callable[..., Any]]]:
    """Functions of a class and its bases, the nearest definition of each name, in the order in which they stand."""
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    found = ((name, inspect.getattr_static(cls, name)) for name in names)
    return [(name, member) for name, member in found if inspect.isfunction(member)]


def _check_spelling(cls: type) -> None:
    """Refuse an attribute that nearly is an option. Plurals (`orders`) are words of their own."""
    options = HandlerOptions.names()
    for name, value in vars(cls).items():
        if name.startswith("_") or name in options or callable(value) or isinstance(value, property):
            continue
        for option in options:
            near = SequenceMatcher(None, name, option).ratio() >= _MISSPELLING
            if near and name != f"{option}s":
                raise DeclarationError(cls.__qualname__, f"unknown option {name!r}; did you mean {option!r}?")


def _check_methods(cls: type) -> None:
    """Refuse handlers that nobody would find."""
    for name, member in vars(cls).items():
        wrapped = getattr(member, "__func__", None)  # of a staticmethod or classmethod
        if not inspect.isfunction(member) and (marks_of(member) or marks_of(wrapped)):
            raise DeclarationError(f"{cls.__qualname__}.{name}", "handlers are ordinary methods; remove what wraps it")


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


def check_unicast(actions: Iterable[Action]) -> None:
    """Raises `RedefinedActionError` when two commands or queries listen on overlapping topics."""
    seen: list[Action] = []
    for action in actions:
        if not action.kind.unicast:
            continue
        for other in seen:
            if overlap(action.template.filter, other.template.filter):
                raise RedefinedActionError(
                    f"{action.actor}.{action.function.__name__}",
                    f"{action.kind.value} {action.template.text!r} overlaps with {other.kind.value} "
                    f"{other.template.text!r} of {other.actor}.{other.function.__name__}; "
                    "a command or query has one handler",
                )
        seen.append(action)
