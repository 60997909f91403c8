"""A handler, ready to be called."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from attrs import Factory, evolve, field, frozen

from callboard.brokers.mailbox import Kind, MailboxSpec, Order, Start
from callboard.brokers.topic import TopicTemplate
from callboard.errors import DeclarationError
from callboard.instrumentation import Endpoint
from callboard.message import BrokerMessage
from callboard.routing.check import checks_of
from callboard.routing.decorator import HandlerMark
from callboard.routing.failure import FailurePolicy
from callboard.routing.option import HandlerOptions
from callboard.routing.pipeline import NO_PIPELINE, Pipeline
from callboard.routing.request import BrokerRequest, BrokerResponse
from callboard.routing.signature import HandlerSignature
from callboard.routing.stage import OPEN_STAGE, Stage, is_async

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
    pipeline: Pipeline = NO_PIPELINE
    bare: bool = field(init=False, default=Factory(lambda self: self.pipeline.empty, takes_self=True))
    """Whether nothing stands around the handler: what the hot path asks, instead of running an empty pipeline."""

    @property
    def direct(self) -> bool:
        """Whether it can be called with nothing but the content and captures of a message."""
        return self.bare and self.asynchronous and self.signature.request is None

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
        """`bound` says that the function is a method and gets its instance, hooks and checks from `bind`.

        Raises `DeclarationError` when the handler cannot work.
        """
        name = getattr(function, "__qualname__", type(function).__qualname__)
        where = f"{name} ({mark.kind.value} {mark.topic!r})"
        captures = tuple(capture for _, capture in mark.template.names)
        options = mark.options.over(defaults)
        options.check_together(where)
        checks = checks_of(function)
        if not bound and (method := next((check for check in checks if check.method), None)):
            raise DeclarationError(where, f"its check {method.name!r} takes two arguments; here it gets the request")
        return cls(
            kind=mark.kind,
            template=mark.template,
            actor=actor,
            function=function,
            signature=HandlerSignature.of(function, captures, where, bound=bound),
            options=options,
            asynchronous=is_async(function),
            policy=FailurePolicy.of(options),
            endpoint=Endpoint(mark.topic, mark.kind.value, actor, name, getattr(function, "__module__", "")),
            pipeline=Pipeline(checks=checks),
        )

    def bind(self, instance: object) -> Action:
        """This handler as a method of an instance, with the hooks and checks of its class."""
        return evolve(
            self,
            function=partial(self.function, instance),
            pipeline=self.pipeline.bind(instance, self.kind, checks_of(self.function)),
        )

    async def __call__(self, request: BrokerRequest | BrokerMessage) -> BrokerResponse:
        """Handle one message here and now, with all that stands around the handler; nothing is retried, settled or
        replied. Raises what the handler raises, and `ContentDecodeError` when the content does not fit."""
        if not isinstance(request, BrokerRequest):
            request = BrokerRequest(request)
        if self.bare:
            return await self._answer(request.raw, OPEN_STAGE, request)
        return await self._around(request, OPEN_STAGE)

    def perform(self, message: BrokerMessage, stage: Stage) -> Coroutine[Any, Any, BrokerResponse]:
        """Handle a message on a handler loop's stage. On the hot path: no coroutine but the one that calls."""
        return self._answer(message, stage) if self.bare else self._around(BrokerRequest(message), stage)

    async def _around(self, request: BrokerRequest, stage: Stage) -> BrokerResponse:
        async def handle(request: BrokerRequest) -> BrokerResponse:
            if self.template.names and not self.template.matches(request.raw.topic):
                raise DeclarationError(
                    self.endpoint.function,
                    f"captures tokens of {self.template.text!r}, but was given a request to {request.raw.topic!r}",
                )
            return await self._answer(request.raw, stage, request)

        return await self.pipeline.run(request, handle, stage)

    async def _answer(
        self, message: BrokerMessage, stage: Stage, request: BrokerRequest | None = None
    ) -> BrokerResponse:
        captured = self.template.captures(message.topic)
        arguments = self.signature.arguments(message, captured, request)
        if self.asynchronous:
            result = await self.function(**arguments)
        else:
            result = await stage.in_thread(partial(self.function, **arguments))
        return result if isinstance(result, BrokerResponse) else BrokerResponse(result)

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
