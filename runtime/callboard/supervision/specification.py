"""What is supervised and how: a tree that is declared once and never changes.

Words and meaning are those of Erlang/OTP's `supervisor` (OTP 27), where nothing else is said here. What
cannot work is refused where it is written, as a DeclarationError.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias, TypeVar, cast

from attrs import Factory, field, frozen

from callboard.backoff import Backoff
from callboard.errors import DeclarationError, did_you_mean

__all__ = ["ChildSpec", "Provide", "Restart", "RestartIntensity", "Strategy", "Supervisor", "Target"]

Provide: TypeAlias = Mapping[type[object], Callable[..., AbstractAsyncContextManager[object]]]
"""How the system gets the dependencies of actors: type -> async context-manager function."""


class Strategy(StrEnum):
    """Which children restart when one of them fails."""

    ONE_FOR_ONE = "one_for_one"
    """That child alone."""
    ONE_FOR_ALL = "one_for_all"
    """All children of the supervisor."""
    REST_FOR_ONE = "rest_for_one"
    """That child and those declared after it."""


class Restart(StrEnum):
    """When a child that ended is started again.

    A child stopped because a sibling failed comes back with it, unless it is temporary.
    """

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """When it crashed; a normal end is its own business."""
    TEMPORARY = "temporary"
    """Never. (A first start that meets a lost server is still tried until it works.)"""


@frozen
class RestartIntensity:
    """How many restarts are bearable: more than `max_restarts` within `period` seconds are not.

    A child that has run for one `period` is stable: its backoff begins anew. Raises DeclarationError for a
    negative or fractional `max_restarts` and for a `period` that is not positive and finite.
    """

    max_restarts: int = 5
    """0 allows no restart at all."""
    period: float = 60.0
    """Seconds; the window slides."""

    def __attrs_post_init__(self) -> None:
        count, period = self.max_restarts, self.period
        if type(count) is not int or count < 0:
            raise DeclarationError("RestartIntensity", f"max_restarts must be 0, 1, 2, ..., not {count!r}")
        if not (period > 0 and math.isfinite(period)):
            raise DeclarationError("RestartIntensity", f"period must be positive and finite, not {period!r}")


_Choice = TypeVar("_Choice", Strategy, Restart)


def _choice(kind: type[_Choice], where: str, value: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        known = [member.value for member in kind]
        hint = did_you_mean(str(value), known)
        rule = f"{kind.__name__.lower()} {value!r} is unknown{hint} (known: {', '.join(known)})"
        raise DeclarationError(where, rule) from None


def _restart(value: str) -> Restart:
    return _choice(Restart, "ChildSpec", value)


def _strategy(value: str) -> Strategy:
    return _choice(Strategy, "Supervisor", value)


def _target(value: Supervisor | Callable[..., object]) -> Supervisor | Callable[..., object]:
    if not isinstance(value, Supervisor) and not callable(cast("object", value)):
        rule = f"a child is an actor class, a function or a Supervisor, not {value!r:.100}"
        raise DeclarationError("ChildSpec", rule)
    return value


def _named(instance: object, _attribute: object, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise DeclarationError(type(instance).__name__, f"name must be a text that is not empty, not {value!r}")


def _child_name(spec: ChildSpec) -> str:
    for attribute in ("name", "__name__"):
        name: object = getattr(spec.target, attribute, None)
        if isinstance(name, str) and name:
            return name
    raise DeclarationError("ChildSpec", f"{spec.target!r:.100} has no name; give one with name=")


@frozen
class ChildSpec:
    """One child of a supervisor.

    `target` is an actor class, a function with handlers or a nested Supervisor. `restart` and a supervisor's
    `strategy` may be given as text. Raises DeclarationError for a value that is unknown, and for an essential
    child that is temporary: it would never restart, so it could never exceed a limit.
    """

    target: Supervisor | Callable[..., object] = field(converter=_target)
    restart: Restart = field(default=Restart.PERMANENT, converter=_restart, kw_only=True)
    essential: bool = field(default=False, kw_only=True)
    """True: the process ends when this child cannot be kept running. False: the root parks it. On a nested
    Supervisor it holds for the whole subtree."""
    name: str = field(default=Factory(_child_name, takes_self=True), kw_only=True, validator=_named)
    """Unique in the tree. Default: the target's attribute `name` if it is a text, else the name of the class
    or function."""

    def __attrs_post_init__(self) -> None:
        if self.restart is Restart.TEMPORARY and self.indispensable:
            rule = "a temporary child cannot be essential; make it permanent or transient"
            raise DeclarationError(f"ChildSpec({self.name})", rule)

    @property
    def indispensable(self) -> bool:
        """Whether this child is essential or, being a Supervisor, holds one that is."""
        nested = isinstance(self.target, Supervisor) and any(s.indispensable for s in self.target.children)
        return self.essential or nested


Target: TypeAlias = "ChildSpec | Supervisor | Callable[..., object]"
"""What may stand in a supervisor's list of children."""


def _children(targets: Sequence[Target]) -> tuple[ChildSpec, ...]:
    if not isinstance(cast("object", targets), list | tuple):
        raise DeclarationError("Supervisor", f"children must be a list, not {targets!r:.100}")
    specs = tuple(item if isinstance(item, ChildSpec) else ChildSpec(item) for item in targets)
    if not specs:
        raise DeclarationError("Supervisor", "has no children; give at least one")
    return specs


def _supervisor_name(supervisor: Supervisor) -> str:
    return f"supervisor({supervisor.children[0].name})"


def _provide(provide: Provide | None) -> Provide:
    given = dict(provide or {})
    for key, opener in given.items():
        if not isinstance(cast("object", key), type) or not callable(opener):
            rule = f"provide maps a type to an async context-manager function, not {key!r} to {opener!r:.100}"
            raise DeclarationError("Supervisor", rule)
    return MappingProxyType(given)


@frozen(eq=False)
class Supervisor:
    """A declaration: these children, started in this order, stopped in reverse, restarted like this.

    Children that are no ChildSpec are wrapped in one with its defaults. Supervisors nest.

    **Restart intensity.** A nested supervisor counts the restarts of all its children together, as OTP does:
    when they exceed its intensity it stops them all and fails, and its parent's strategy applies. The root
    cannot fail upwards: it parks the child with all that its strategy would restart, or ends the process when
    an essential one is among them. So that nobody is parked for a sibling's crashes, a root with
    `one_for_one` counts for each child by itself.

    Raises DeclarationError: no children, two children of one name anywhere in the tree, a wrong type, an
    unknown strategy, or a limit out of reach. The limit is within reach when a child that fails at once each
    time gets its `max_restarts` restarts within one `period`, taking the average wait of each; otherwise it
    would fail and restart for ever and nobody would hear of it. The defaults need 7.5 of their 60 seconds.
    """

    children: tuple[ChildSpec, ...] = field(converter=_children)
    strategy: Strategy = field(default=Strategy.ONE_FOR_ONE, converter=_strategy, kw_only=True)
    intensity: RestartIntensity = field(default=RestartIntensity(), kw_only=True)
    provide: Provide = field(default=None, converter=_provide, kw_only=True)
    """Dependencies for the constructors of actors; kept for the system."""
    backoff: Backoff = field(default=Backoff(), kw_only=True)
    name: str = field(default=Factory(_supervisor_name, takes_self=True), kw_only=True, validator=_named)
    """In logs and errors. Default: `supervisor(<first child>)`."""

    def __attrs_post_init__(self) -> None:
        self._check_types()
        self._check_names()
        self._check_limit()

    def walk(self) -> Iterator[ChildSpec]:
        """All children of the tree in start order; a nested supervisor comes before its children."""
        for spec in self.children:
            yield spec
            if isinstance(spec.target, Supervisor):
                yield from spec.target.walk()

    def _check_types(self) -> None:
        for name, kind in (("intensity", RestartIntensity), ("backoff", Backoff)):
            value: object = getattr(self, name)
            if not isinstance(value, kind):
                raise DeclarationError(self.name, f"{name} must be a {kind.__name__}, not {value!r:.100}")

    def _check_names(self) -> None:
        name, count = Counter(spec.name for spec in self.walk()).most_common(1)[0]
        if count > 1:
            rule = f"{count} children have the name {name!r}; names are unique in a tree, give others with name="
            raise DeclarationError(self.name, rule)

    def _check_limit(self) -> None:
        restarts, period = self.intensity.max_restarts, self.intensity.period
        needed = self.backoff.expected(restarts)
        if needed > period:
            rule = (
                f"{restarts} restarts take {needed:g} s on average with this backoff, so more than that in "
                f"{period:g} s would never happen; use a longer period, fewer restarts or a shorter backoff"
            )
            raise DeclarationError(self.name, rule)
