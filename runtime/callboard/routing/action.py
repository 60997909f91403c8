"""A handler, ready to be called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import evolve, frozen

from callboard.brokers.mailbox import Kind, MailboxSpec, Order, Start
from callboard.brokers.topic import TopicTemplate
from callboard.instrumentation import Endpoint
from callboard.routing.decorator import HandlerMark
from callboard.routing.failure import FailurePolicy
from callboard.routing.option import HandlerOptions
from callboard.routing.signature import HandlerSignature

__all__ = ["Action"]


@frozen(eq=False)
class Action:
    """One handler of one actor: what it listens on, how it is called, what its failures lead to."""

    kind: Kind
    template: TopicTemplate
    actor: str
    function: Callable[..., Any]
    """As it is called with the message's arguments; the function of a method wants its instance first: see `bind`."""
    signature: HandlerSignature
    options: HandlerOptions
    asynchronous: bool
    policy: FailurePolicy
    endpoint: Endpoint

    @classmethod
    def declare(
        cls,
        function: Callable[..., Any],
        mark: HandlerMark,
        actor: str,
        defaults: HandlerOptions,
        *,
        bound: bool,
    ) -> Action:
        """Raises `DeclarationError` when the handler cannot work."""
        where = f"{function.__qualname__} ({mark.kind.value} {mark.template.text!r})"
        captures = tuple(name for _, name in mark.template.names)
        options = mark.options.over(defaults)
        options.check_together(where)
        return cls(
            kind=mark.kind,
            template=mark.template,
            actor=actor,
            function=function,
            signature=HandlerSignature.of(function, captures, where, bound=bound),
            options=options,
            asynchronous=inspect.iscoroutinefunction(function),
            policy=FailurePolicy.of(options),
            endpoint=Endpoint(mark.template.text, mark.kind.value, actor, function.__qualname__),
        )

    def bind(self, instance: object) -> Action:
        """This handler as a method of an instance."""
        return evolve(self, function=partial(self.function, instance))

    def mailbox(self, service: str, renamed_from: str | None = None) -> MailboxSpec:
        """The mailbox of this handler in a service."""
        options = self.options
        return MailboxSpec(
            kind=self.kind,
            template=self.template,
            service=service,
            actor=self.actor,
            concurrency=options.concurrency,
            ack_wait=options.ack_wait or 30.0,
            start=options.start or Start.FIRST,
            order=options.order or Order.STREAM,
            renamed_from=renamed_from,
        )
