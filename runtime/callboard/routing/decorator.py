"""Decorators that make handlers of methods and functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import frozen

from callboard.brokers.mailbox import Kind
from callboard.brokers.topic import TopicTemplate
from callboard.errors import DeclarationError, MixedDecoratorKindsError
from callboard.routing.option import HandlerOptions

__all__ = ["HandlerMark", "command", "enroute", "event", "marks_of", "query"]

F = TypeVar("F", bound=Callable[..., Any])

_MARKS = "__callboard_handlers__"


@frozen
class HandlerMark:
    """What one decorator said."""

    kind: Kind
    template: TopicTemplate
    options: HandlerOptions


def marks_of(function: object) -> tuple[HandlerMark, ...]:
    """The marks of a function, in the order in which its decorators stand."""
    return getattr(function, _MARKS, ())


def _decorate(kind: Kind, topic: str, options: dict[str, Any]) -> Callable[[Any], Any]:
    if not isinstance(topic, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DeclarationError(f"@{kind.value}", f"takes a topic, as in @{kind.value}('orders.place')")
    where = f"@{kind.value}({topic!r})"
    mark = HandlerMark(kind, TopicTemplate.parse(topic), HandlerOptions.checked(where, options))

    def decorate(function: F) -> F:
        if not callable(function):
            raise DeclarationError(where, f"decorates functions and ordinary methods, not {function!r:.100}")
        marks = marks_of(function)
        if any(other.kind is not kind for other in marks):
            raise MixedDecoratorKindsError(
                f"{where} on {function.__qualname__}",
                f"is already a {marks[0].kind.value} handler; write a second method for the {kind.value}",
            )
        setattr(function, _MARKS, (mark, *marks))
        return function

    return decorate


def command(topic: str, **options: Any) -> Callable[[F], F]:
    """Handle commands: one service gets each message, once, and may answer.

    `topic` may capture tokens (`orders.{id}.cancel`). Options as in `HandlerOptions`; an unknown one is refused
    here. Raises `TopicError` or `DeclarationError`.
    """
    return _decorate(Kind.COMMAND, topic, options)


def query(topic: str, **options: Any) -> Callable[[F], F]:
    """Handle queries: like `command`, but a query past its caller's deadline is dropped instead of dead-lettered."""
    return _decorate(Kind.QUERY, topic, options)


def event(topic: str, **options: Any) -> Callable[[F], F]:
    """Handle events: each actor of each service gets each message once, however many processes run it."""
    return _decorate(Kind.EVENT, topic, options)


class _BrokerEnroute:
    command = staticmethod(command)
    query = staticmethod(query)
    event = staticmethod(event)


class _Enroute:
    broker = _BrokerEnroute


enroute = _Enroute
"""The same decorators under the seed's names: `@enroute.broker.command("user.create")`."""
