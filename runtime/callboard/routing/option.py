"""Options of actors and handlers: declared, checked where they are written, the handler's stronger."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import Enum, StrEnum
from typing import Any, Self, TypeVar, cast

import attrs
from attrs import frozen

from callboard.brokers.mailbox import Order, Start
from callboard.errors import DeclarationError, did_you_mean

__all__ = ["DEFAULT_RETRY", "FailureAction", "HandlerOptions"]

DEFAULT_RETRY = (0.0, 1.0, 5.0, 30.0, 120.0)
"""Seconds between attempts; after the last the message is dead-lettered."""


E = TypeVar("E", bound=Enum)


class FailureAction(StrEnum):
    """What a failure of some exception type leads to."""

    RETRY = "retry"
    """Try again after the declared delays, then dead-letter. Declared, it never pauses the mailbox."""
    REJECT = "reject"
    """Dead-letter at once."""
    PAUSE = "pause"
    """Something that the handler needs is away: pause the mailbox, then try with one message at a time. It costs no
    attempt; a caller whose deadline is nearer than the next try gets the error reply."""
    DISCARD = "discard"
    """Give the message up without a trace but the log; a caller gets the error reply."""


@frozen(kw_only=True)
class HandlerOptions:
    """Options of one handler; None means that nothing was said. All durations are seconds."""

    concurrency: int | None = None
    """Messages at once in each process; 1 unless said."""
    timeout: float | None = None
    """The handler is cancelled after this time, which counts as a failed attempt. No limit unless said."""
    hard_timeout: float | None = None
    """A handler that still runs after this time, because it ignores its cancellation or blocks the process, counts as
    failed, and its worker process is replaced. Must be more than `timeout`. No limit unless said."""
    retry: tuple[float, ...] | None = None
    """Delays before the second attempt, the third, …; `DEFAULT_RETRY` unless said."""
    failures: Mapping[type[BaseException], FailureAction] | None = None
    """What exceptions lead to; the nearest class wins. Everything is retried unless said."""
    ack_wait: float | None = None
    """How long the server waits for a sign of life of a worker; 30 unless said."""
    start: Start | None = None
    """Where a new mailbox begins: `first` (default) or `new`."""
    order: Order | None = None
    """`stream` (default), or `strict`: one message in the whole service at a time."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All option names."""
        return tuple(field.name for field in attrs.fields(cls))

    @classmethod
    def checked(cls, where: str, values: Mapping[str, Any]) -> Self:
        """Options from keyword arguments. Raises `DeclarationError` that names the option and the rule."""
        for name in values:
            if name not in _CHECKS:
                raise DeclarationError(where, f"unknown option {name!r}{did_you_mean(name, _CHECKS)}")
        return cls(
            **{
                name: None if value is None else _CHECKS[name](f"{where}: {name}", value)
                for name, value in values.items()
            }
        )

    def over(self, weaker: HandlerOptions) -> HandlerOptions:
        """These options, filled up with those of the actor."""
        return HandlerOptions(
            **{
                name: mine if (mine := getattr(self, name)) is not None else getattr(weaker, name)
                for name in self.names()
            }
        )

    def check_together(self, where: str) -> None:
        """Raises `DeclarationError` when two options contradict each other."""
        if self.order is Order.STRICT and (self.concurrency or 1) > 1:
            raise DeclarationError(
                where,
                f"order='strict' runs one message at a time; concurrency={self.concurrency} contradicts it",
            )
        if self.hard_timeout is not None and self.timeout is not None and self.hard_timeout <= self.timeout:
            raise DeclarationError(
                where,
                f"hard_timeout={self.hard_timeout:g} must be more than timeout={self.timeout:g}: "
                "a handler is cancelled at the one, and its worker is replaced at the other",
            )


def _positive(where: str, value: Any) -> float:
    number = _number(where, value)
    if number <= 0:
        raise DeclarationError(where, f"must be more than 0 seconds, not {value!r}")
    return number


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DeclarationError(where, f"must be a number of seconds, not {value!r}")
    return float(value)


def _concurrency(where: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DeclarationError(where, f"must be a whole number of at least 1, not {value!r}")
    return value


def _ack_wait(where: str, value: Any) -> float:
    seconds = _positive(where, value)
    if seconds < 1:
        raise DeclarationError(where, f"must be at least 1 second, not {value!r}: leases are renewed at a third of it")
    return seconds


def _retry(where: str, value: Any) -> tuple[float, ...]:
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise DeclarationError(where, f"must be a sequence of delays in seconds such as (0, 1, 5), not {value!r}")
    delays = tuple(_number(where, delay) for delay in value)
    if any(delay < 0 for delay in delays):
        raise DeclarationError(where, f"delays cannot be negative: {value!r}")
    return delays


def _failures(where: str, value: Any) -> dict[type[BaseException], FailureAction]:
    if not isinstance(value, Mapping):
        raise DeclarationError(where, f"must map exception types to actions, not {value!r}")
    rules: dict[type[BaseException], FailureAction] = {}
    for kind, action in cast("Mapping[Any, Any]", value).items():
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise DeclarationError(where, f"{kind!r} is no exception type")
        rules[kind] = _member(FailureAction, f"{where}[{kind.__name__}]", action)
    return rules


def _member(kinds: type[E], where: str, value: Any) -> E:
    try:
        return kinds(value)
    except ValueError:
        known = [str(kind.value) for kind in kinds]
        raise DeclarationError(
            where, f"must be one of {', '.join(known)}, not {value!r}{did_you_mean(str(value), known)}"
        ) from None


def _start(where: str, value: Any) -> Start:
    return _member(Start, where, value)


def _order(where: str, value: Any) -> Order:
    return _member(Order, where, value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "concurrency": _concurrency,
    "timeout": _positive,
    "hard_timeout": _positive,
    "retry": _retry,
    "failures": _failures,
    "ack_wait": _ack_wait,
    "start": _start,
    "order": _order,
}
