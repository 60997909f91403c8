"""Conditions that a request must meet before its handler runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from attrs import evolve, frozen

from callboard.errors import BrokerResponseException, DeclarationError, did_you_mean
from callboard.routing.request import BrokerRequest
from callboard.routing.stage import Stage

__all__ = ["Check", "Checker", "checks_of", "declare_check"]

_CHECKS = "__callboard_checks__"

Checker = Callable[..., Any]
"""`(request) -> bool`, or a method `(self, request) -> bool` of the handler's class; async or plain."""

C = TypeVar("C", bound=Checker)


@frozen(kw_only=True)
class Check:
    """One condition, asked until it holds: at most `max_attempts` times, `delay` seconds apart."""

    function: Checker
    method: bool
    """Whether the function wants the handler's instance first."""
    max_attempts: int = 10
    delay: float = 0.1

    @property
    def name(self) -> str:
        """The checker's name, for errors."""
        function: Any = self.function
        function = getattr(function, "func", function)  # of a bound one
        return getattr(function, "__name__", type(function).__name__)

    def bind(self, instance: object) -> Check:
        """This check for an instance of the handler's class."""
        if not self.method:
            return self
        return evolve(self, function=partial(self.function, instance), method=False)

    async def require(self, request: BrokerRequest, stage: Stage) -> None:
        """Return once the condition holds. Raises `BrokerResponseException` with status 400 when it never did, and
        what the checker raises."""
        for attempt in range(self.max_attempts):
            if attempt:
                await stage.clock.sleep(self.delay)
            if await stage.call(self.function, request):
                return
        raise BrokerResponseException(f"the request does not meet {self.name!r}", status=400)


def checks_of(handler: object) -> tuple[Check, ...]:
    """The checks of a handler, in the order in which they were declared."""
    return getattr(handler, _CHECKS, ())


def declare_check(handler: Callable[..., Any], /, **options: Any) -> Callable[[C], C]:
    """A decorator that makes a function a check of `handler`; the function itself stays as it is.

    Options: `max_attempts` (10), `delay` (0.1 seconds). Raises `DeclarationError` for an unknown or impossible one,
    and for a function that takes anything but a request.
    """
    where = f"{getattr(handler, '__qualname__', handler)}.check"
    checked = _checked(where, options)

    def decorate(function: C) -> C:
        check = Check(function=function, method=_is_method(where, function), **checked)
        setattr(handler, _CHECKS, (*checks_of(handler), check))
        return function

    return decorate


def _checked(where: str, options: dict[str, Any]) -> dict[str, Any]:
    for name in options:
        if name not in _RULES:
            raise DeclarationError(where, f"unknown option {name!r}{did_you_mean(name, _RULES)}")
    return {name: _RULES[name](f"{where}: {name}", value) for name, value in options.items()}


def _max_attempts(where: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DeclarationError(where, f"must be a whole number of at least 1, not {value!r}")
    return value


def _delay(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise DeclarationError(where, f"must be a number of seconds, 0 or more, not {value!r}")
    return float(value)


_RULES: dict[str, Callable[[str, Any], Any]] = {"max_attempts": _max_attempts, "delay": _delay}


def _is_method(where: str, function: object) -> bool:
    if not callable(function):
        raise DeclarationError(where, f"decorates a function that takes the request, not {function!r:.100}")
    parameters = inspect.signature(function).parameters.values()
    wanted = [one.name for one in parameters if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]
    if len(wanted) not in {1, 2}:
        raise DeclarationError(where, f"a checker takes the request, after self where it is a method; not {wanted}")
    return len(wanted) == 2
