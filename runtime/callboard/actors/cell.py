"""A running actor."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

from callboard.actors.actor import Actor
from callboard.actors.declaration import ActorDeclaration
from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.status import MailboxStatus
from callboard.brokers.transport import BrokerTransport
from callboard.client.board import Board
from callboard.instrumentation import Instrumentation
from callboard.routing.action import Action
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.handler import BrokerHandler
from callboard.routing.solitude import Solitude

__all__ = ["Cell"]

logger = logging.getLogger("callboard.actor")


class Cell:
    """One instance of an actor with its mailboxes, from start to stop. A restart makes a new cell.

    `create` makes the instance with its dependencies filled in; for a function it returns the function.
    """

    def __init__(
        self,
        declaration: ActorDeclaration,
        create: Callable[[], Any],
        transport: BrokerTransport,
        service: str,
        instrumentation: Instrumentation,
        solitude: Solitude,
    ) -> None:
        self.name = declaration.name
        self._declaration = declaration
        self._create = create
        self._transport = transport
        self._service = service
        self._instrumentation = instrumentation
        self._solitude = solitude
        self._instance: Any = None
        self._started = False
        self._handler: BrokerHandler | None = None

    async def start(self) -> None:
        """Make the instance, run `on_start`, open the mailboxes. Raises what they raise; nothing is left open then."""
        try:
            self._instance = self._create()
            if isinstance(self._instance, Actor):
                self._instance.__callboard_attach__(Board(self._transport, self._instrumentation))
            await self._hook("on_start")
            self._started = True
            self._handler = self._make_handler()
            await self._handler.start()
        except BaseException:
            await self.stop(0.0)
            raise

    @property
    def summary(self) -> str:
        """The topics that it handles."""
        return ", ".join(action.template.text for action in self._declaration.actions)

    def _make_handler(self) -> BrokerHandler:
        method = inspect.isclass(self._declaration.target)
        actions: dict[str, Action] = {}
        mailboxes: list[MailboxSpec] = []
        for action, mailbox in self._declaration.mailboxes(self._service):
            actions[mailbox.durable] = action.bind(self._instance) if method else action
            mailboxes.append(mailbox)
        return BrokerHandler(
            BrokerDispatcher(actions.values(), durables=actions),
            self._transport.subscriber(mailboxes),
            self._declaration.concurrency,
            instrumentation=self._instrumentation,
            on_failure=getattr(self._instance, "on_failure", None),
            solitude=self._solitude,
        )

    async def wait(self) -> None:
        """Wait until the actor crashes, and raise why."""
        if self._handler is not None:
            await self._handler.wait()

    def crash(self, error: BaseException) -> None:
        """Crash with this error, as if a handler had."""
        if self._handler is not None:
            self._handler.subscriber.crash(error)

    def status(self) -> Sequence[MailboxStatus]:
        """Its mailboxes, as they are now; empty before they are opened and after they are closed."""
        return () if self._handler is None else self._handler.subscriber.status()

    async def drain(self) -> None:
        """Take no new messages and hand back those that have not begun."""
        if self._handler is not None:
            await self._handler.drain()

    async def stop(self, grace: float) -> None:
        """Drain, let what runs finish for `grace` seconds, hand back the rest, run `on_stop`.

        Idempotent, and never raises; a call during another may shorten the grace.
        """
        if self._handler is not None:
            try:
                await self._handler.stop(grace)
            except Exception:
                logger.exception("%s did not stop cleanly", self.name)
        if self._started:
            self._started = False
            try:
                await self._hook("on_stop")
            except Exception:
                logger.exception("on_stop of %s raised", self.name)

    async def _hook(self, name: str) -> None:
        """Run a lifecycle method, if the instance has one; plain and async ones both work."""
        hook = getattr(self._instance, name, None)
        if hook is None:
            return
        result = hook()
        if inspect.isawaitable(result):
            await result
