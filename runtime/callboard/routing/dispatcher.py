"""Finds the handler of a message and runs it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any

from callboard.brokers.delivery import BrokerDelivery
from callboard.errors import ActionNotFoundError
from callboard.message import BrokerMessage
from callboard.routing.action import Action
from callboard.routing.request import BrokerResponse

__all__ = ["BrokerDispatcher"]


class BrokerDispatcher:
    """The handlers of one actor, by mailbox and by topic.

    A delivery is for the handler whose mailbox it came from; where a mailbox serves several handlers, the most
    specific topic wins.
    """

    def __init__(self, actions: Iterable[Action], durables: Mapping[str, Action] | None = None) -> None:
        self.actions = sorted(actions, key=lambda action: action.template.specificity, reverse=True)
        self._durables = dict(durables or {})
        self._exact = {action.template.text: action for action in reversed(self.actions)}

    def get_action(self, topic: str) -> Action:
        """The handler of a topic. Raises `ActionNotFoundError`."""
        if (exact := self._exact.get(topic)) is not None:
            return exact
        for action in self.actions:
            if action.template.matches(topic):
                return action
        raise ActionNotFoundError(topic, self._exact)

    def action_for(self, delivery: BrokerDelivery) -> Action | None:
        """The handler of a delivery; None when nobody handles its topic."""
        if (action := self._durables.get(delivery.durable)) is not None:
            return action
        try:
            return self.get_action(delivery.topic)
        except ActionNotFoundError:
            return None

    async def perform(self, action: Action, message: BrokerMessage, threads: Executor | None) -> BrokerResponse:
        """Run a handler on a message and return its answer.

        A plain function runs in `threads`; context variables that it sets are carried back. Raises what the handler
        raises, and `ContentDecodeError` when the content does not fit its parameter.
        """
        captured = action.template.captures(message.topic)
        arguments = action.signature.arguments(message, captured)
        if action.asynchronous:
            result = await action.function(**arguments)
        else:
            result = await in_thread(partial(action.function, **arguments), threads)
        return result if isinstance(result, BrokerResponse) else BrokerResponse(result)


async def in_thread(call: Callable[[], Any], threads: Executor | None) -> Any:
    """Run `call` in a thread and carry back the context variables it set.

    A thread cannot be stopped: cancelling leaves it to end by itself, and nobody hears its result.
    """
    context = contextvars.copy_context()
    result = await asyncio.get_running_loop().run_in_executor(threads, context.run, call)
    for variable, value in context.items():
        if variable.get(_ABSENT) is not value:
            variable.set(value)
    return result


_ABSENT: Any = object()
