"""Finds the handler of a message, and runs one message by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Self
from uuid import UUID

from attrs import evolve, frozen

from callboard.brokers import wire
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.mailbox import Kind
from callboard.brokers.publisher import BrokerPublisher
from callboard.brokers.topic import TopicTemplate
from callboard.config import Config, import_names
from callboard.errors import (
    ActionNotFoundError,
    ContentEncodeError,
    HeaderError,
    MessageTooLargeError,
    NotProvidedError,
)
from callboard.instrumentation import NO_INSTRUMENTATION, NO_SPAN, Instrumentation, Span, trace_headers
from callboard.message import BrokerMessage, BrokerMessageV1, BrokerMessageV1Payload, BrokerMessageV1Strategy
from callboard.routing.action import Action
from callboard.routing.attempt import UNHANDLED, answer
from callboard.routing.configured import service_actions
from callboard.routing.decorator import HandlerMark, marks_of
from callboard.routing.discovery import Actions, action_of, routes_of
from callboard.routing.failure import error_response
from callboard.routing.pipeline import Middleware, checked_middleware
from callboard.routing.request import BrokerResponse

__all__ = ["BrokerDispatcher"]

logger = logging.getLogger("callboard.handler")

_ANY_TOPIC = HandlerMark(Kind.GROUP, TopicTemplate("*", ("*",), ()))


class BrokerDispatcher:
    """The handlers of one actor or one subscriber, by mailbox and by topic.

    A delivery is for the handler whose mailbox it came from; where a mailbox serves several handlers, the most specific
    topic wins, and a topic whose handler is None has none. `durables` are the handlers by the names of their mailboxes.
    `middleware` stands around every handler, outside of its class's own. Under a topic alone, a function without
    a decorator for it has default options.

    Raises `DeclarationError` for a handler that cannot work, `RedefinedActionError` for two on one topic.
    """

    def __init__(
        self,
        actions: Actions,
        publisher: BrokerPublisher | None = None,
        *,
        durables: Mapping[str, Action] | None = None,
        middleware: Iterable[Middleware] = (),
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
    ) -> None:
        self.publisher = publisher
        """Where replies go out; without one, where the message came in."""
        around = checked_middleware("BrokerDispatcher", middleware)
        self._routes = [(template, action and _inside(action, around)) for template, action in routes_of(actions)]
        self._routes.sort(key=lambda route: route[0].specificity, reverse=True)
        self._durables = {durable: _inside(action, around) for durable, action in (durables or {}).items()}
        self._instrumentation = instrumentation
        self._noticed: set[Action] = set()
        self.actions = {template.text: action for template, action in reversed(self._routes)}
        """The handlers by topic."""

    @classmethod
    def from_config(cls, config: Config, *, publisher: BrokerPublisher | None = None) -> Self:
        """The handlers of `config.services`, with one new instance of each class, inside `config.middleware`; replies
        go out through the configured publisher unless another is given.

        Raises `ConfigError` for a service that cannot be imported or made without arguments.
        """
        return cls(
            service_actions(config),
            publisher or BrokerPublisher.from_config(config),
            middleware=import_names(config.middleware, "middleware"),
        )

    @classmethod
    def _from_config(cls, config: Config, **kwargs: Any) -> Self:
        """`from_config` under its older name."""
        return cls.from_config(config, **kwargs)

    def get_action(self, topic: str) -> Action:
        """The handler of a topic: call it with a request or a message. Raises `ActionNotFoundError`."""
        if (exact := self.actions.get(topic)) is not None:
            return exact
        for template, action in self._routes:
            if template.matches(topic):
                if action is None:
                    break
                return action
        raise ActionNotFoundError(topic, [known for known, action in self.actions.items() if action is not None])

    def action_for(self, delivery: BrokerDelivery) -> Action | None:
        """The handler of a delivery; None when nobody handles its topic."""
        if (action := self._durables.get(delivery.durable)) is not None:
            return action
        return self._find(delivery.topic)

    def _find(self, topic: str) -> Action | None:
        try:
            return self.get_action(topic)
        except ActionNotFoundError:
            return None

    def notice_multicast(self, action: Action | None) -> None:
        """Say once for each handler that a multicast message came to a command or query: its kind decides."""
        if action is None or not action.kind.unicast or action in self._noticed:
            return
        self._noticed.add(action)
        logger.warning(
            "a multicast message came to %s, which handles the %s %r: one service gets it, once; "
            "send it as unicast, or make the handler an event handler",
            action.endpoint.function,
            action.kind.value,
            action.template.text,
        )

    async def dispatch(self, message: BrokerMessage) -> None:
        """Handle one message that came by no mailbox, and send the reply through `publisher` when it has a reply topic.

        Everything is as in a handler loop (context variables, middleware, the judgement of failures), but nothing is
        retried and there is no dead letter. Never raises for what a handler does: that is logged, and answered.
        Cancelling cancels the handler. Raises `NotProvidedError` before it when there is no publisher for the reply,
        and what the publisher raises.
        """
        if message.should_reply and self.publisher is None:
            raise NotProvidedError("BrokerDispatcher", "publisher")
        # A task, so that a handler that sets context variables changes nothing for whoever dispatches.
        await asyncio.create_task(self._dispatch(message))

    async def _dispatch(self, message: BrokerMessage) -> None:
        action = self._find(message.topic)
        if isinstance(message, BrokerMessageV1) and message.strategy is BrokerMessageV1Strategy.MULTICAST:
            self.notice_multicast(action)
        span = self._span(action, message)
        token = span.enter()
        try:
            received = _as_received(message)
            await self._reply(received, await answer(action, received, span))
        finally:
            span.leave(token)
            span.end()

    def _span(self, action: Action | None, message: BrokerMessage) -> Span:
        """A message without a trace of its own belongs to that of whoever dispatches it."""
        if not trace_headers(message.headers):
            return NO_SPAN
        incoming = _Dispatched(message.topic, message.headers, message.identifier)
        return self._instrumentation.process(UNHANDLED if action is None else action.endpoint, incoming)

    async def _reply(self, message: BrokerMessage, response: BrokerResponse) -> None:
        if not message.should_reply or self.publisher is None:
            return
        try:
            await self.publisher.send(_reply(message, response))
        except (ContentEncodeError, HeaderError, MessageTooLargeError) as error:
            logger.exception("the answer to message %s cannot be sent", message.identifier)
            await self.publisher.send(_reply(message, error_response(error)))

    @staticmethod
    def get_callback(fn: Callable[..., Any]) -> Callable[[BrokerMessage], Awaitable[BrokerMessageV1Payload]]:
        """Any function, async or plain, as an async one from a message to the payload of its reply.

        It runs as with `dispatch`: failures become error replies. Raises `DeclarationError` when messages cannot
        fill its parameters.
        """
        marks = marks_of(fn)
        action = fn if isinstance(fn, Action) else action_of(fn, marks[0] if marks else _ANY_TOPIC)

        async def callback(message: BrokerMessage) -> BrokerMessageV1Payload:
            response = await asyncio.create_task(answer(action, _as_received(message)))
            return BrokerMessageV1Payload(response.content, response.headers, response.status)

        return callback


def _inside(action: Action, middleware: tuple[Middleware, ...]) -> Action:
    return evolve(action, pipeline=action.pipeline.inside(middleware)) if middleware else action


@frozen
class _Dispatched:
    """A message that came by no mailbox, as a span shows it."""

    topic: str
    headers: Mapping[str, str]
    identifier: UUID
    stream: str = ""
    durable: str = ""
    sequence: int = 0
    delivered: int = 1
    body_size: int = 0


def _as_received(message: BrokerMessage) -> BrokerMessage:
    """The message with its own headers only, as it would have come over the wire."""
    own = wire.own_headers(message.headers)
    if len(own) == len(message.headers):
        return message
    return BrokerMessageV1(
        message.topic,
        BrokerMessageV1Payload(message.content, own, message.status),
        identifier=message.identifier,
        strategy=getattr(message, "strategy", None),
        reply_topic=message.reply_topic,
    )


def _reply(message: BrokerMessage, response: BrokerResponse) -> BrokerMessageV1:
    own = wire.travelling(message.headers) if response.headers is None else response.headers
    payload = BrokerMessageV1Payload(response.content, own, response.status)
    return BrokerMessageV1(message.reply_topic or "", payload, identifier=message.identifier)
