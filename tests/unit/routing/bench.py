"""Runs handlers on the loopback transport, as an actor's cell runs them on the real one."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from callboard.brokers import wire
from callboard.instrumentation import NO_INSTRUMENTATION, Instrumentation
from callboard.routing.action import Action
from callboard.routing.decorator import marks_of
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.handler import BrokerHandler
from callboard.routing.option import HandlerOptions
from callboard.routing.processing import OnFailure
from tests.unit.routing.loopback import LoopbackTransport

__all__ = ["INBOX", "Bench", "declared", "durable_of", "error_of"]

INBOX = "_INBOX.caller"
"""Where the tests' caller listens."""


def declared(function: Callable[..., Any]) -> list[Action]:
    """The actions of a decorated function."""
    return [Action.declare(function, mark, "Bench", HandlerOptions(), bound=False) for mark in marks_of(function)]


def durable_of(function: Callable[..., Any]) -> str:
    """The durable of a decorated function."""
    return declared(function)[0].mailbox("bench").durable


def error_of(reply: wire.Frame) -> dict[str, Any]:
    """What an error reply says, with its status."""
    message = wire.decode(reply.topic, reply.headers, reply.body, UUID(int=0))
    return {"status": message.status, **message.content["error"]}


class Bench:
    """`async with Bench(transport, handler, ...)`: a running handler loop for decorated functions."""

    def __init__(
        self,
        transport: LoopbackTransport,
        *functions: Callable[..., Any],
        concurrency: int = 1,
        on_failure: OnFailure | None = None,
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
    ) -> None:
        actions = [action for function in functions for action in declared(function)]
        mailboxes = {action: action.mailbox("bench") for action in actions}
        self.subscriber = transport.subscriber(list(mailboxes.values()))
        self.dispatcher = BrokerDispatcher(
            actions, durables={mailbox.durable: action for action, mailbox in mailboxes.items()}
        )
        self.handler = BrokerHandler(
            self.dispatcher,
            self.subscriber,
            concurrency,
            instrumentation=instrumentation,
            on_failure=on_failure,
        )

    async def __aenter__(self) -> Self:
        await self.handler.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.handler.stop(0.0)
