"""Decorators that make handlers of methods and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from attrs import field, frozen

from callboard.brokers.mailbox import Kind
from callboard.brokers.topic import TopicTemplate
from callboard.errors import DeclarationError, MixedDecoratorKindsError
from callboard.routing.check import declare_check
from callboard.routing.option import HandlerOptions

__all__ = ["Decorated", "HandlerMark", "command", "enroute", "event", "marks_of", "one_kind", "query"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
C = TypeVar("C", bound=Callable[..., Any])

_MARKS = "__callboard_handlers__"


class Decorated(Protocol[P, R_co]):
    """A decorated function as type checkers see it. At run time it is the function itself, which has got `check`."""

    __name__: str
    __qualname__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def check(self, *, max_attempts: int = 10, delay: float = 0.1) -> Callable[[C], C]:
        """Decorate a function that takes the request and says whether the handler may run.

        It is a method of the same class or a plain function, async or not (a plain one runs in a thread). It is asked
        until it says yes, at most `max_attempts` times, `delay` seconds apart; then the caller gets an error reply with
        status 400. Several checks are asked in the order of their declaration.
        """
        ...

    @overload
    def __get__(self, instance: None, owner: type[Any], /) -> Decorated[P, R_co]: ...
    @overload
    def __get__(
        self: Decorated[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None, /
    ) -> Callable[Q, R]: ...


@frozen
class HandlerMark:
    """A decorator, and what it said: equal to any other of the same kind and topic.

    So it can be a key of a dispatcher's actions, and stand in what `__get_enroute__` returns.
    """

    kind: Kind
    template: TopicTemplate
    options: HandlerOptions = field(default=HandlerOptions(), eq=False)

    @property
    def topic(self) -> str:
        """The topic as it was written."""
        return self.template.text

    def __call__(self, function: Callable[P, R]) -> Decorated[P, R]:
        where = f"@{self.kind.value}({self.topic!r})"
        if not callable(function):
            raise DeclarationError(where, f"decorates functions and ordinary methods, not {function!r:.100}")
        marks = (self, *marks_of(function))
        one_kind(f"{where} on {function.__qualname__}", reversed(marks))
        setattr(function, _MARKS, marks)
        decorated = cast("Decorated[P, R]", function)
        decorated.check = partial(declare_check, function)  # type: ignore[method-assign]
        return decorated


def marks_of(function: object) -> tuple[HandlerMark, ...]:
    """The marks of a function, in the order in which its decorators stand."""
    return getattr(function, _MARKS, ())


def one_kind(where: str, marks: Iterable[HandlerMark]) -> None:
    """Raises `MixedDecoratorKindsError` when the marks of one function are of different kinds."""
    first, *others = marks
    for other in others:
        if other.kind is not first.kind:
            raise MixedDecoratorKindsError(
                where,
                f"is already a {first.kind.value} handler; write a second method for the {other.kind.value}",
            )


def _mark(kind: Kind, topic: str, options: dict[str, Any]) -> HandlerMark:
    if not isinstance(topic, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DeclarationError(f"@{kind.value}", f"takes a topic, as in @{kind.value}('orders.place')")
    where = f"@{kind.value}({topic!r})"
    return HandlerMark(kind, TopicTemplate.parse(topic), HandlerOptions.checked(where, options))


def command(topic: str, **options: Any) -> HandlerMark:
    """Handle commands: one service gets each message, once, and may answer.

    `topic` may capture tokens (`orders.{id}.cancel`). Options as in `HandlerOptions`; an unknown one is refused
    here. Raises `TopicError` or `DeclarationError`.
    """
    return _mark(Kind.COMMAND, topic, options)


def query(topic: str, **options: Any) -> HandlerMark:
    """Handle queries: like `command`, but a query past its caller's deadline is dropped instead of dead-lettered."""
    return _mark(Kind.QUERY, topic, options)


def event(topic: str, **options: Any) -> HandlerMark:
    """Handle events: each actor of each service gets each message once, however many processes run it."""
    return _mark(Kind.EVENT, topic, options)


class _BrokerEnroute:
    command = staticmethod(command)
    query = staticmethod(query)
    event = staticmethod(event)


class _Enroute:
    broker = _BrokerEnroute


enroute = _Enroute
"""The same decorators under the seed's names: `@enroute.broker.command("user.create")`."""
