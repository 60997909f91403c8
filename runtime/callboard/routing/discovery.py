"""Which handlers a class, a function or a pair of topic and callable stands for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

from attrs import evolve

from callboard.brokers.mailbox import Kind
from callboard.brokers.topic import TopicTemplate, overlap
from callboard.errors import DeclarationError, RedefinedActionError, did_you_mean
from callboard.routing.action import Action
from callboard.routing.decorator import HandlerMark, marks_of, one_kind
from callboard.routing.option import HandlerOptions
from callboard.routing.pipeline import Pipeline, checked_middleware

__all__ = ["Actions", "action_of", "actions_of", "check_unicast", "handlers_of", "options_of", "routes_of"]

Handlers: TypeAlias = list[tuple[Callable[..., Any], HandlerMark]]
Actions: TypeAlias = (
    Mapping[str, object] | Mapping[HandlerMark, object] | Mapping[str | HandlerMark, object] | Iterable[Action]
)
"""Callables by topic or by decorator, where None says that nobody handles a topic; or actions as they are. Values are
objects to type checkers, which know no common type of a dictionary's functions; what is no callable is refused."""

_ENROUTE = "__get_enroute__"
_HOOK = re.compile(r"_(pre|post)_(\w+)_handle")
_HOOKED = [kind.value for kind in Kind if kind is not Kind.GROUP]


def handlers_of(target: object) -> Handlers:
    """The decorated functions of a class, or a decorated function itself, once for each decorator.

    A class with `__get_enroute__` (a static or class method) says itself what its handlers are: a mapping from the
    names of methods to a decorator, or several. Raises `DeclarationError` when it names what is not there.
    """
    if not inspect.isclass(target):
        function = cast("Callable[..., Any]", target)
        return [(function, mark) for mark in marks_of(function)] if inspect.isfunction(target) else []
    if hasattr(target, _ENROUTE):
        return _declared_by_itself(target)
    return [(function, mark) for function in _functions(target).values() for mark in marks_of(function)]


def options_of(cls: type) -> HandlerOptions:
    """Options that a class declares for all its handlers. Raises `DeclarationError`."""
    values = {option: value for option in HandlerOptions.names() if (value := getattr(cls, option, None)) is not None}
    for option, value in values.items():
        if inspect.isroutine(value):
            where = f"{cls.__qualname__}.{option}"
            raise DeclarationError(where, f"{option!r} is the name of an option; give the method another one")
    return HandlerOptions.checked(cls.__qualname__, values)


def actions_of(target: Callable[..., Any], actor: str) -> tuple[Action, ...]:
    """The handlers of a class or function, in order; those of a class are still to be bound to an instance.

    Raises `DeclarationError` when one cannot work, and `RedefinedActionError` when two commands or queries overlap.
    """
    if inspect.isclass(target):
        _check_methods(target)
        actions = tuple(_method(target, function, mark, actor) for function, mark in handlers_of(target))
    else:
        actions = tuple(
            Action.declare(function, mark, actor, HandlerOptions(), bound=False)
            for function, mark in handlers_of(target)
        )
    check_unicast(actions)
    return actions


def routes_of(actions: Actions) -> list[tuple[TopicTemplate, Action | None]]:
    """A dispatcher's table. Raises `RedefinedActionError` when one topic stands twice in a mapping, and
    `DeclarationError` for what is no handler."""
    if not isinstance(actions, Mapping):
        return [(action.template, action) for action in actions]
    routes: dict[str, tuple[TopicTemplate, Action | None]] = {}
    for key, function in cast("Mapping[str | HandlerMark, object]", actions).items():
        mark = key if isinstance(key, HandlerMark) else _mark_of(key, function)
        where = f"{mark.kind.value} {mark.topic!r}"
        if (other := routes.get(mark.template.filter)) is not None:
            raise RedefinedActionError(
                where,
                f"{other[0].text!r} stands here already; a dispatcher has one handler for a topic (the class as an "
                "actor may have a command and an event on it)",
            )
        if not (callable(function) or function is None):
            raise DeclarationError(where, f"its handler is no function: {function!r:.100}")
        routes[mark.template.filter] = (mark.template, None if function is None else action_of(function, mark))
    return list(routes.values())


def _mark_of(topic: str, function: object) -> HandlerMark:
    """The function's own decorator for a topic. A topic alone names no kind: whoever is in the subscriber's group
    handles it."""
    own = (mark for mark in marks_of(function) if mark.topic == topic)
    return next(own, None) or HandlerMark(Kind.GROUP, TopicTemplate.parse(topic))


def action_of(function: Callable[..., Any], mark: HandlerMark) -> Action:
    """Any callable as the handler that a decorator stands for; a method of an instance comes with the options, hooks,
    checks and middleware of its class."""
    if isinstance(function, Action):
        return _under(function, mark)
    instance: object = getattr(function, "__self__", None)
    if inspect.ismethod(function) and not inspect.isclass(instance):
        cls = type(instance)
        return _method(cls, function.__func__, mark, cls.__name__).bind(instance)
    name = str(getattr(function, "__name__", type(function).__name__))
    return Action.declare(function, mark, name, HandlerOptions(), bound=False)


def check_unicast(actions: Iterable[Action]) -> None:
    """Raises `RedefinedActionError` when two commands or queries listen on overlapping topics."""
    seen: list[Action] = []
    for action in actions:
        if not action.kind.unicast:
            continue
        for other in seen:
            if overlap(action.template.filter, other.template.filter):
                raise RedefinedActionError(
                    action.endpoint.function,
                    f"{action.kind.value} {action.template.text!r} overlaps with {other.kind.value} "
                    f"{other.template.text!r} of {other.endpoint.function}; a command or query has one handler",
                )
        seen.append(action)


def _under(action: Action, mark: HandlerMark) -> Action:
    """An action under a topic that may be another one than its own; its kind stays."""
    if missing := set(action.signature.captures) - {name for _, name in mark.template.names}:
        raise DeclarationError(
            action.endpoint.function, f"wants {min(missing)!r}, which {mark.topic!r} does not capture"
        )
    return evolve(action, template=mark.template)


def _method(cls: type, function: Callable[..., Any], mark: HandlerMark, actor: str) -> Action:
    action = Action.declare(function, mark, actor, options_of(cls), bound=True)
    middleware = checked_middleware(cls.__qualname__, getattr(cls, "middleware", ()))
    return evolve(action, pipeline=Pipeline(middleware=middleware))


def _functions(cls: type) -> dict[str, Callable[..., Any]]:
    """Functions of a class and its bases, the nearest definition of each name, in the order in which they stand."""
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    found = ((name, inspect.getattr_static(cls, name)) for name in names)
    return {name: member for name, member in found if inspect.isfunction(member)}


def _declared_by_itself(cls: type) -> Handlers:
    where = f"{cls.__qualname__}.{_ENROUTE}"
    if not isinstance(inspect.getattr_static(cls, _ENROUTE), staticmethod | classmethod):
        raise DeclarationError(where, "is asked before there is an instance; make it a staticmethod or classmethod")
    declared = getattr(cls, _ENROUTE)()
    if not isinstance(declared, Mapping):
        raise DeclarationError(where, f"maps names of methods to decorators, not {declared!r:.100}")
    functions = _functions(cls)
    handlers: Handlers = []
    for name, marks in cast("Mapping[Any, Any]", declared).items():
        if name not in functions:
            raise DeclarationError(where, f"{name!r} is no method of the class{did_you_mean(str(name), functions)}")
        handlers += [(functions[name], mark) for mark in _declared_marks(f"{where}[{name!r}]", marks)]
    return handlers


def _declared_marks(where: str, declared: Any) -> list[HandlerMark]:
    marks: list[Any] = list(cast("Iterable[Any]", declared)) if isinstance(declared, Iterable) else [declared]
    for mark in marks:
        if not isinstance(mark, HandlerMark):
            raise DeclarationError(where, f"must be a decorator such as enroute.broker.command('x'), not {mark!r:.100}")
    if marks:
        one_kind(where, marks)
    return marks


def _check_methods(cls: type) -> None:
    """Refuse handlers and hooks that nobody would find."""
    for name, member in vars(cls).items():
        where = f"{cls.__qualname__}.{name}"
        wrapped = getattr(member, "__func__", None)  # of a staticmethod or classmethod
        if not inspect.isfunction(member) and (marks_of(member) or marks_of(wrapped)):
            raise DeclarationError(where, "handlers are ordinary methods; remove what wraps it")
        if (hook := _HOOK.fullmatch(name)) and hook[2] not in _HOOKED:
            raise DeclarationError(where, f"is no hook: {hook[2]!r} is no kind{did_you_mean(hook[2], _HOOKED)}")
