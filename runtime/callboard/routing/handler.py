"""The loop that takes deliveries, runs handlers and settles: the only one.

Everything that handles messages runs on it: an actor's cell, a `BrokerPort`, a test on an in-memory transport.
This module is the hot path. What it does for each message was measured (microseconds, CPython 3.11): comparing
the context afterwards 0.4, a task of its own 6 to 9, a fresh context and a timeout object 23. Hence slots are
long-lived tasks, one timer looks after all of them, and only a handler that changed a context variable costs
a new task.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Any, Self

from callboard.brokers.builder import BrokerSubscriberBuilder
from callboard.brokers.configured import instrumentation_of
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.publisher import BrokerPublisher
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.config import Config, import_names
from callboard.errors import (
    ClosedError,
    InvalidArgumentError,
)
from callboard.instrumentation import NO_INSTRUMENTATION, Instrumentation
from callboard.routing.attempt import ends_task
from callboard.routing.configured import handled_by, service_actions, subscriber_of
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.processing import OnFailure, Processing
from callboard.routing.slot import SLOT, Slot, Slots, waiting_due
from callboard.routing.solitude import Solitude
from callboard.routing.stage import Stage

__all__ = ["BrokerHandler"]

logger = logging.getLogger("callboard.handler")

GRACE = 30.0
"""Seconds that running handlers get to finish where nobody says otherwise."""


class BrokerHandler:
    """Runs handlers on what a subscriber delivers, at most `concurrency` at once.

    Guarantees: first attempts of one mailbox begin in the order of its deliveries; a message is settled only after
    its outputs, and after its reply; an exception in one message never ends the loop; nothing that a handler sets
    in a context variable is seen by the next message.

    Replies to topics go out through the dispatcher's publisher, where it has one; replies to inboxes, and all others,
    through the subscriber's transport. The subscriber is set up and destroyed with the handler, and so is a publisher
    that nobody set up before. It is used once: after a stop, or a start that failed, make a new one.
    """

    def __init__(
        self,
        dispatcher: BrokerDispatcher,
        subscriber: BrokerSubscriber,
        concurrency: int = 5,
        *,
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
        on_failure: OnFailure | None = None,
        solitude: Solitude | None = None,
    ) -> None:
        if concurrency < 1:
            raise InvalidArgumentError(f"concurrency is a number of messages at once, 1 or more; not {concurrency!r}")
        self.dispatcher = dispatcher
        """Finds the handlers."""
        self.subscriber = subscriber
        """Delivers the messages."""
        self._transport = subscriber.transport
        self._stage = Stage(self._transport.clock, threads=concurrency)
        subscriber.intake.concurrency = concurrency
        self._processing = Processing(
            dispatcher,
            subscriber,
            instrumentation=instrumentation,
            stage=self._stage,
            solitude=solitude or Solitude(),
            on_failure=on_failure,
            on_crash=self._crash,
        )
        self._slots = Slots()
        self._tasks: list[asyncio.Task[None]] = []
        """Settlements of handlers that hang."""
        self._starting = asyncio.Lock()
        self._crashed: asyncio.Future[None] | None = None
        self._unwatch: Callable[[], None] | None = None
        self._owned: list[BrokerPublisher] = []
        self._ending: asyncio.Task[None] | None = None
        self._asked: asyncio.Future[None] | None = None
        """Done when somebody stops the handler."""
        self._deadline = inf
        """Loop time at which a stop cancels what still runs."""

    @classmethod
    def from_config(
        cls,
        config: Config,
        *,
        concurrency: int = 5,
        subscriber_builder: BrokerSubscriberBuilder | None = None,
        on_failure: OnFailure | None = None,
    ) -> Self:
        """The handlers of `config.services` on exactly their mailboxes: a command or query reaches one service, an
        event each service. What the builder was given by hand is used.

        Raises `ConfigError` for a service that cannot be imported, or made without arguments.
        """
        actions = service_actions(config)
        subscriber = subscriber_of(config, actions, subscriber_builder)
        middleware = import_names(config.middleware, "middleware")
        dispatcher = BrokerDispatcher(actions, durables=handled_by(actions, config), middleware=middleware)
        instrumentation = instrumentation_of(config, subscriber.transport)
        return cls(dispatcher, subscriber, concurrency, instrumentation=instrumentation, on_failure=on_failure)

    @classmethod
    def _from_config(cls, config: Config, **kwargs: Any) -> Self:
        """`from_config` under its older name."""
        return cls.from_config(config, **kwargs)

    # Lifecycle

    async def start(self) -> None:
        """Open the mailboxes and begin to handle. Returns once deliveries can arrive; does nothing when that has
        happened. Failed or cancelled, everything is stopped. Raises `ClosedError` after a stop."""
        async with self._starting:
            if self._ending is not None:
                raise ClosedError(type(self).__name__)
            if self._crashed is not None:
                return
            try:
                await self._start()
            except BaseException:
                await self.stop(0.0)
                raise

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._crashed, self._asked = loop.create_future(), loop.create_future()
        publisher = self.dispatcher.publisher
        if publisher is not None and not publisher.is_ready():
            self._owned.append(publisher)
            await publisher.setup()
        self.subscriber.on_crash = self._crash
        self._unwatch = self._transport.watch(self._tick)
        for _ in range(self.subscriber.intake.concurrency):
            self._spawn(self._slots.add())
        await self.subscriber.setup()

    async def setup(self) -> None:
        """Begin to handle: `start` under the seed's name."""
        await self.start()

    async def run(self) -> None:
        """Handle messages until somebody stops the handler, starting it first when that has not happened.

        Raises what crashed it, once it is stopped. Cancelling stops it, with the default grace.
        """
        await self.start()
        ends = [end for end in (self._crashed, self._asked) if end is not None]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self.stop(GRACE)
        for end in ends:
            if end.done():
                end.result()

    async def destroy(self) -> None:
        """Stop with the default grace of 30 s: running handlers finish, and their replies are sent."""
        await self.stop(GRACE)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.destroy()

    async def wait(self) -> None:
        """Wait until the handler crashes, and raise why. Cancelling leaves it running."""
        if self._crashed is not None:
            await asyncio.shield(self._crashed)

    async def drain(self) -> None:
        """Take no new messages and hand back those that have not begun. Idempotent."""
        self._slots.interrupt_gated()
        await self.subscriber.drain()

    async def stop(self, grace: float) -> None:
        """Drain, give what runs `grace` seconds, cancel and hand back the rest.

        Idempotent; a call during another may shorten the grace, never extend it. Cancelling leaves the stop running.
        """
        self._deadline = min(self._deadline, asyncio.get_running_loop().time() + grace)
        self._slots.changed()
        if self._ending is None:
            self._ending = asyncio.create_task(self._stop())
            if self._asked is not None:
                self._asked.set_result(None)
        await asyncio.shield(self._ending)

    async def _stop(self) -> None:
        try:
            await self.drain()
            await self._slots.finish(lambda: self._deadline)
        finally:
            await self._end()

    async def _end(self) -> None:
        if self._unwatch is not None:
            self._unwatch()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._slots.end()
        self._stage.close()
        try:
            await self.subscriber.destroy()
        finally:
            for publisher in self._owned:
                await publisher.destroy()

    # Slots

    def _spawn(self, slot: Slot) -> None:
        """Give a slot a task with an explicitly empty context: no ambient span or variable reaches a message."""
        slot.task = asyncio.get_running_loop().create_task(self._work(slot), context=contextvars.Context())

    async def _work(self, slot: Slot) -> None:
        intake = self.subscriber.intake
        clock = self._transport.clock.time
        SLOT.set(slot)
        clean = contextvars.copy_context()
        while True:
            try:
                lane, delivery = intake.pop() or await intake.take()
            except ClosedError:
                return
            if not lane.allowed:  # paused
                await delivery.nak()
                intake.give_back(lane)
                continue
            begun = clock()
            slot.begin(delivery, lane)
            try:
                await self._processing.handle(slot, delivery)
            except BaseException as error:
                if ends_task(error):
                    raise
                logger.exception("message %s of %s could not be settled", delivery.sequence, delivery.durable)
            finally:
                seconds = clock() - begun
                if slot.error_type is not None:
                    self._processing.count(slot, delivery, seconds)
                slot.end()
                intake.release(lane, seconds, len(delivery.body))
                if self._ending is not None:
                    self._slots.changed()
            if contextvars.copy_context() != clean:
                self._spawn(slot)
                return

    def _tick(self, now: float) -> list[BrokerDelivery]:
        """Cancel handlers whose time is up, end pauses that are over; name the deliveries, running or waiting, whose
        lease is due."""
        if self.subscriber.intake.is_idle:  # as most of many actors are
            return []
        for lane in self.subscriber.intake.lanes:
            lane.tick(now)
        for slot in self._slots.hung(now):
            self._tasks.append(asyncio.create_task(self._processing.give_up_on(slot)))
        return [*self._slots.tick(now), *waiting_due(self.subscriber.intake, now)]

    def _crash(self, error: BaseException) -> None:
        """Let `wait()` raise; the first crash counts. What waits is not for this instance any more."""
        self.subscriber.intake.close()
        if self._crashed is not None and not self._crashed.done():
            self._crashed.set_exception(error)
            self._crashed.exception()  # whoever waits is told all the same; nobody has to
