"""Handlers of classes and functions, collected for a dispatcher."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import frozen

from callboard.brokers.mailbox import Kind
from callboard.brokers.topic import TopicTemplate
from callboard.config.name import import_name
from callboard.errors import ConfigError, DeclarationError, did_you_mean
from callboard.routing.action import Action
from callboard.routing.attempt import ends_task, judge
from callboard.routing.decorator import HandlerMark
from callboard.routing.discovery import action_of, actions_of, check_unicast, handlers_of
from callboard.routing.failure import Settlement
from callboard.routing.request import BrokerRequest

__all__ = ["EnrouteFactory"]

logger = logging.getLogger("callboard.handler")

_UNICAST = frozenset({Kind.COMMAND, Kind.QUERY})
_EVENT = frozenset({Kind.EVENT})


class EnrouteFactory:
    """Collects the handlers of classes and functions, given themselves or by dotted name (`shop.orders.Orders`).

    Each call makes one new instance of each class, with those of the keyword arguments that its constructor takes.
    The result maps decorators to handlers, for `BrokerDispatcher`. Two event handlers on one topic become one that
    runs both for each event; when one of them fails, both may see the event again.

    An `Actor` can publish only when it runs as an actor (`callboard run`, `System`), not in a dispatcher of one's own.
    """

    def __init__(self, *targets: type | Callable[..., Any] | str) -> None:
        """Raises `ConfigError` for a name that cannot be imported, and for what has no handlers."""
        self._targets = [
            import_name(target, "EnrouteFactory") if isinstance(target, str) else target for target in targets
        ]
        for target in self._targets:
            if not handlers_of(target):
                raise ConfigError(
                    f"{target!r} is no class or function with handlers; decorate one with @enroute.broker"
                )

    def get_broker_command_query_event(self, **kwargs: Any) -> dict[HandlerMark, Action]:
        """All handlers.

        Raises `RedefinedActionError` when two commands or queries overlap, `DeclarationError` for a handler that cannot
        work and for a keyword argument that no constructor takes.
        """
        return self._collect(_UNICAST | _EVENT, kwargs)

    def get_broker_command_query(self, **kwargs: Any) -> dict[HandlerMark, Action]:
        """The command and query handlers; as `get_broker_command_query_event`."""
        return self._collect(_UNICAST, kwargs)

    def get_broker_event(self, **kwargs: Any) -> dict[HandlerMark, Action]:
        """The event handlers; as `get_broker_command_query_event`."""
        return self._collect(_EVENT, kwargs)

    def _collect(self, kinds: Iterable[Kind], kwargs: Mapping[str, Any]) -> dict[HandlerMark, Action]:
        declared = [(target, actions_of(target, target.__name__)) for target in self._targets]
        check_unicast(action for _, actions in declared for action in actions)
        _check_taken(self._targets, kwargs)
        by_topic: dict[tuple[Kind, str], list[Action]] = {}
        for target, actions in declared:
            bind = _binder(target, kwargs)
            for action in actions:
                if action.kind in kinds:
                    by_topic.setdefault((action.kind, action.template.filter), []).append(bind(action))
        collected = (_together(actions) for actions in by_topic.values())
        return {HandlerMark(action.kind, action.template, action.options): action for action in collected}


def _parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(target).parameters if inspect.isclass(target) else {}


def _check_taken(targets: Iterable[Callable[..., Any]], kwargs: Iterable[str]) -> None:
    parameters = [one for target in targets for one in _parameters(target).values()]
    names = {parameter.name for parameter in parameters}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    for name in kwargs:
        if name not in names:
            raise DeclarationError("EnrouteFactory", f"no class takes {name!r}{did_you_mean(name, names)}")


def _binder(target: Callable[..., Any], kwargs: Mapping[str, Any]) -> Callable[[Action], Action]:
    """What makes a class's handlers callable, with one instance for all of them."""
    if not inspect.isclass(target):
        return lambda action: action
    parameters = _parameters(target)
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    instance = target(**{name: value for name, value in kwargs.items() if anything or name in parameters})
    return lambda action: action.bind(instance)


def _together(actions: list[Action]) -> Action:
    """Event handlers on one topic as one."""
    first, *others = actions
    if not others:
        return first
    for other in others:
        if other.options != first.options:
            raise DeclarationError(
                other.endpoint.function,
                f"shares {first.template.text!r} with {first.endpoint.function}: give both the same options, or run "
                "their classes as actors, where each handler has a mailbox of its own",
            )
    template = TopicTemplate.parse(first.template.filter)  # each handler captures by its own
    return action_of(_Together(tuple(actions)), HandlerMark(first.kind, template, first.options))


_URGENCY = (Settlement.ACK, Settlement.DISCARD, Settlement.DEAD_LETTER, Settlement.RETRY, Settlement.HAND_BACK)


@frozen
class _Together:
    """Runs several handlers, one after the other, each whatever the others do. What is judged in the end is the failure
    that asks for most: a retry before a dead letter, a dead letter before a refusal."""

    actions: tuple[Action, ...]

    async def __call__(self, request: BrokerRequest) -> None:
        failures: list[tuple[int, BaseException]] = []
        for action in self.actions:
            try:
                await action(request)
            except BaseException as error:
                if ends_task(error):
                    raise
                logger.warning("%s failed: %s: %s", action.endpoint.function, type(error).__name__, error)
                failures.append((_URGENCY.index(judge(action, error, attempt=1).settlement), error))
        if failures:
            raise max(failures, key=lambda failure: failure[0])[1]
