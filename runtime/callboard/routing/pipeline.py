"""What stands around a handler: middleware, hooks, checks."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, cast

from attrs import evolve, frozen

from callboard.brokers.mailbox import Kind
from callboard.errors import DeclarationError
from callboard.routing.check import Check
from callboard.routing.request import BrokerRequest, BrokerResponse
from callboard.routing.stage import Stage, is_async

__all__ = ["NO_PIPELINE", "Handle", "Middleware", "Pipeline", "checked_middleware"]

Handle = Callable[[BrokerRequest], Awaitable[BrokerResponse]]
"""The rest of the pipeline, the handler at its end."""

Middleware = Callable[[BrokerRequest, Handle], Awaitable[BrokerResponse]]
"""`async (request, call_next) -> response`. It may pass on another request, change the response, answer without
calling `call_next`, or call it more than once. What it raises counts as raised by the handler."""


@frozen(eq=False)
class Pipeline:
    """Runs, in this order: middleware (the first one outermost), the hook before, the checks, the handler, the hook
    after. An exception anywhere ends it."""

    middleware: tuple[Middleware, ...] = ()
    before: Callable[..., Any] | None = None
    checks: tuple[Check, ...] = ()
    after: Callable[..., Any] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing stands around the handler."""
        return not (self.middleware or self.before or self.checks or self.after)

    def bind(self, instance: object, kind: Kind, checks: Iterable[Check]) -> Pipeline:
        """This pipeline for a method of `instance`, with the hooks of its class and the method's checks."""
        return evolve(
            self,
            before=getattr(instance, f"_pre_{kind.value}_handle", None),
            checks=tuple(check.bind(instance) for check in checks),
            after=getattr(instance, f"_post_{kind.value}_handle", None),
        )

    def inside(self, outer: tuple[Middleware, ...]) -> Pipeline:
        """This pipeline with more middleware around it."""
        return evolve(self, middleware=(*outer, *self.middleware)) if outer else self

    async def run(self, request: BrokerRequest, handle: Handle, stage: Stage) -> BrokerResponse:
        """Raises what any part raises, and `DeclarationError` when one gives on what it must not."""
        inner: Handle = partial(self._innermost, handle, stage)
        for middleware in reversed(self.middleware):
            inner = partial(_through, middleware, inner)
        return await inner(request)

    async def _innermost(self, handle: Handle, stage: Stage, request: BrokerRequest) -> BrokerResponse:
        if self.before is not None:
            request = _request(self.before, await stage.call(self.before, request))
        for check in self.checks:
            await check.require(request, stage)
        response = await handle(request)
        return response if self.after is None else _response(self.after, await stage.call(self.after, response))


NO_PIPELINE = Pipeline()


async def _through(middleware: Middleware, call_next: Handle, request: BrokerRequest) -> BrokerResponse:
    async def checked_next(request: BrokerRequest) -> BrokerResponse:
        return await call_next(_request(middleware, request))

    return _response(middleware, await middleware(request, checked_next))


def _request(giver: Callable[..., Any], value: object) -> BrokerRequest:
    if isinstance(value, BrokerRequest):
        return value
    raise DeclarationError(_name(giver), f"must give on a BrokerRequest, not {value!r:.100}")


def _response(giver: Callable[..., Any], value: object) -> BrokerResponse:
    if isinstance(value, BrokerResponse):
        return value
    raise DeclarationError(_name(giver), f"must return a BrokerResponse, not {value!r:.100}")


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)


def checked_middleware(where: str, middleware: object) -> tuple[Middleware, ...]:
    """A sequence of middleware, or a `DeclarationError` that says what is wrong with it."""
    if isinstance(middleware, str) or not isinstance(middleware, Iterable):
        raise DeclarationError(where, f"middleware is a sequence such as (first, second), not {middleware!r:.100}")
    parts = tuple(cast("Iterable[Any]", middleware))
    for part in parts:
        if not callable(part) or not is_async(part) or not _takes_two(part):
            raise DeclarationError(
                where, f"middleware is an async callable that takes (request, call_next), not {part!r:.100}"
            )
    return parts


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True
