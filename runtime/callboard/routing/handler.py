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
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from math import inf

from callboard.brokers import wire
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import LEASE_SHARE, Lane
from callboard.brokers.mailbox import Kind
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.context import (
    REQUEST_HEADERS_CONTEXT_VAR,
    REQUEST_REPLY_TOPIC_CONTEXT_VAR,
    REQUEST_USER_CONTEXT_VAR,
)
from callboard.errors import (
    ActionNotFoundError,
    CallboardError,
    ClosedError,
    ContentDecodeError,
    DeadlineExceededError,
    HandlerTimeoutError,
    PublishRefusedError,
    SubstrateError,
    TopicError,
)
from callboard.instrumentation import NO_INSTRUMENTATION, NO_SPAN, Endpoint, Instrumentation, Span
from callboard.message import BrokerMessage
from callboard.routing.action import Action
from callboard.routing.current import CURRENT, Current
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.failure import SUBSTRATE_PAUSE, FailureClass, FailurePolicy, Settlement, Verdict
from callboard.routing.request import BrokerResponse, user_of
from callboard.routing.settlement import Settler, reply_frame
from callboard.routing.slot import Interruption, Slot

__all__ = ["BrokerHandler", "OnFailure"]

logger = logging.getLogger("callboard.handler")

OnFailure = Callable[[BaseException, BrokerMessage], Awaitable[None] | None]

LAST_WAIT = 1.0
"""Seconds that cancelled handlers have to end; one that swallows its cancellation is left behind."""

_UNHANDLED = Endpoint(topic="(unhandled)", kind="", actor="", function="")
_NO_RETRY = FailurePolicy(delays=())
_DONE = Verdict(Settlement.ACK)


class BrokerHandler:
    """Runs handlers on what a subscriber delivers, at most `concurrency` at once.

    Guarantees: first attempts of one mailbox begin in the order of its deliveries; a message is settled only after
    its outputs, and after its reply; an exception in one message never ends the loop; nothing that a handler sets
    in a context variable is seen by the next message.
    """

    def __init__(
        self,
        dispatcher: BrokerDispatcher,
        subscriber: BrokerSubscriber,
        concurrency: int = 5,
        *,
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._subscriber = subscriber
        self._transport = subscriber.transport
        self._settler = Settler(subscriber, instrumentation)
        subscriber.intake.concurrency = concurrency
        self._instrumentation = instrumentation
        self._on_failure = on_failure
        self._slots: list[Slot] = []
        self._threads: ThreadPoolExecutor | None = None
        self._crashed: asyncio.Future[None] | None = None
        self._unwatch: Callable[[], None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._deadline = inf
        """Loop time at which a stop cancels what still runs."""
        self._changed = asyncio.Event()
        """A slot became free, or the deadline nearer."""

    # Lifecycle

    async def start(self) -> None:
        """Open the mailboxes and begin to handle. Returns once deliveries can arrive."""
        self._crashed = asyncio.get_running_loop().create_future()
        self._subscriber.on_crash = self._crash
        self._unwatch = self._transport.watch(self._tick)
        for _ in range(self._subscriber.intake.concurrency):
            slot = Slot()
            self._slots.append(slot)
            self._spawn(slot)
        await self._subscriber.setup()

    async def wait(self) -> None:
        """Wait until the handler crashes, and raise why. Cancelling leaves it running."""
        if self._crashed is not None:
            await asyncio.shield(self._crashed)

    async def drain(self) -> None:
        """Take no new messages and hand back those that have not begun. Idempotent."""
        await self._subscriber.drain()

    async def stop(self, grace: float) -> None:
        """Drain, give what runs `grace` seconds, cancel and hand back the rest.

        Idempotent; a call during another may shorten the grace, never extend it. Cancelling leaves the stop running.
        """
        self._deadline = min(self._deadline, asyncio.get_running_loop().time() + grace)
        self._changed.set()
        if self._ending is None:
            self._ending = asyncio.create_task(self._stop())
        await asyncio.shield(self._ending)

    async def _stop(self) -> None:
        await self.drain()
        await self._until_idle(lambda: self._deadline)
        for slot in self._slots:
            slot.interrupt(Interruption.STOP)
        last = asyncio.get_running_loop().time() + LAST_WAIT
        await self._until_idle(lambda: last)
        await self._end()

    async def _until_idle(self, deadline: Callable[[], float]) -> None:
        """Wait until no slot has a delivery, until `deadline()` at most; it may come nearer meanwhile."""
        clock = asyncio.get_running_loop().time
        while any(slot.delivery is not None for slot in self._slots) and clock() < deadline():
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline()):
                    await self._changed.wait()

    async def _end(self) -> None:
        if self._unwatch is not None:
            self._unwatch()
        tasks = [slot.task for slot in self._slots if slot.task is not None]
        self._slots.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            _, hung = await asyncio.wait(tasks, timeout=LAST_WAIT)
            for task in hung:
                logger.error("a handler ignores its cancellation and is left behind: %s", task)
        if self._crashed is not None and self._crashed.done():
            self._crashed.exception()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        await self._subscriber.destroy()

    # Slots

    def _spawn(self, slot: Slot) -> None:
        """Give a slot a task with an explicitly empty context: no ambient span or variable reaches a message."""
        slot.task = asyncio.get_running_loop().create_task(self._work(slot), context=contextvars.Context())

    async def _work(self, slot: Slot) -> None:
        intake = self._subscriber.intake
        clock = self._transport.clock.time
        clean = contextvars.copy_context()
        while True:
            try:
                lane, delivery = await intake.take()
            except ClosedError:
                return
            begun = clock()
            slot.begin(delivery, lane.lease)
            try:
                await self._handle(slot, delivery)
            except BaseException as error:
                if _ends_slot(error):
                    raise
                logger.exception("message %s of %s could not be settled", delivery.sequence, delivery.durable)
            finally:
                slot.end()
                intake.release(lane, clock() - begun, len(delivery.body))
                if self._ending is not None:
                    self._changed.set()
            if contextvars.copy_context() != clean:
                self._spawn(slot)
                return

    def _tick(self, now: float) -> Iterable[BrokerDelivery]:
        """Cancel handlers whose time is up; name the deliveries, running or waiting, whose lease is due."""
        due: list[BrokerDelivery] = []
        for slot in self._slots:
            if slot.delivery is None:
                continue
            if now >= slot.deadline:
                slot.interrupt(Interruption.TIMEOUT)
            if now - slot.delivery.touched > slot.lease * LEASE_SHARE:
                due.append(slot.delivery)
        for lane in self._subscriber.intake.lanes:
            if lane.waiting:
                due.extend(self._waiting_due(lane, now))
        return due

    @staticmethod
    def _waiting_due(lane: Lane, now: float) -> Iterable[BrokerDelivery]:
        limit = now - lane.lease * LEASE_SHARE
        return [delivery for delivery in lane.waiting if delivery.touched < limit]

    # One message

    async def _handle(self, slot: Slot, delivery: BrokerDelivery) -> None:
        headers = delivery.headers
        if headers and headers.get(wire.TARGET, delivery.durable) != delivery.durable:
            await delivery.ack()
            return
        action = self._dispatcher.action_for(delivery)
        endpoint = action.endpoint if action is not None else _UNHANDLED
        span = self._instrumentation.process(endpoint, delivery)
        token = span.enter()
        try:
            if not await delivery.admit():
                await delivery.ack()
                return
            attempt = 1
            if delivery.delivered > 1:
                attempt += await self._subscriber.attempts.failed(delivery)
            verdict = await self._attempt(slot, action, delivery, attempt)
            if span is not NO_SPAN:
                _describe(span, verdict, attempt)
            await self._settler.settle(delivery, endpoint, verdict, attempt)
            if verdict.failure is FailureClass.ACTOR and verdict.error is not None:
                with suppress(AttributeError):  # the restart's span goes under this attempt's
                    verdict.error.carrier = dict(span.carrier)  # type: ignore[attr-defined]
                self._crash(verdict.error)
        except (SubstrateError, PublishRefusedError) as error:
            logger.warning("message %s of %s goes back: %s", delivery.sequence, delivery.durable, error)
            await delivery.nak(SUBSTRATE_PAUSE)
        finally:
            span.leave(token)
            span.end()

    async def _attempt(self, slot: Slot, action: Action | None, delivery: BrokerDelivery, attempt: int) -> Verdict:
        """Run the handler once, and judge."""
        expires = wire.parse_time(delivery.headers.get(wire.DEADLINE)) if delivery.headers else None
        try:
            return await self._run(slot, self._due(action, delivery, expires), delivery, expires)
        except BaseException as error:  # whatever a handler raises is judged, here and only here
            if _ends_slot(error):
                raise
            failure = error
            if slot.interruption is Interruption.STOP:  # whatever it raised, it was not left to finish
                return Verdict(Settlement.HAND_BACK)
            if isinstance(error, asyncio.CancelledError) and slot.interruption is Interruption.TIMEOUT and action:
                failure = HandlerTimeoutError(action.endpoint.function, action.options.timeout or 0.0)
                failure.__cause__ = error
        policy = action.policy if action is not None else _NO_RETRY
        drop = action is not None and action.kind is Kind.QUERY
        remaining = inf if expires is None else (expires - self._transport.clock.now()).total_seconds()
        verdict = policy.judge(failure, attempt=attempt, remaining=remaining, drop_expired=drop)
        await self._report(delivery, verdict, attempt)
        return verdict

    async def _run(self, slot: Slot, action: Action, delivery: BrokerDelivery, expires: datetime | None) -> Verdict:
        """Call the handler with its context variables set. The answer is encoded here, so that a result that
        cannot be sent is a failure of this attempt."""
        message = delivery.message
        own = message.headers
        tokens = (
            CURRENT.set(Current(delivery, expires)),
            REQUEST_HEADERS_CONTEXT_VAR.set(wire.travelling(own)),
            REQUEST_REPLY_TOPIC_CONTEXT_VAR.set(message.reply_topic),
            REQUEST_USER_CONTEXT_VAR.set(user_of(own)),
        )
        slot.enter_handler(self._deadline_of(action))
        try:
            response = await self._dispatcher.perform(action, message, self._pool(action))
            slot.leave_handler()
            return _answer(delivery, response) if message.should_reply else _DONE
        finally:
            slot.leave_handler()
            CURRENT.reset(tokens[0])
            REQUEST_HEADERS_CONTEXT_VAR.reset(tokens[1])
            REQUEST_REPLY_TOPIC_CONTEXT_VAR.reset(tokens[2])
            REQUEST_USER_CONTEXT_VAR.reset(tokens[3])

    def _due(self, action: Action | None, delivery: BrokerDelivery, expires: datetime | None) -> Action:
        """The handler, if there is one and somebody still waits for it."""
        if action is None:
            raise ActionNotFoundError(delivery.topic)
        if expires is not None and expires < self._transport.clock.now():
            raise DeadlineExceededError(delivery.topic, wire.format_time(expires))
        return action

    def _deadline_of(self, action: Action) -> float:
        """When a handler that begins now is cancelled; a thread cannot be."""
        timeout = action.options.timeout if action.asynchronous else None
        return inf if timeout is None else self._transport.clock.time() + timeout

    def _pool(self, action: Action) -> ThreadPoolExecutor | None:
        """Threads for handlers that are plain functions: as many as there are slots, so none waits for another."""
        if action.asynchronous:
            return None
        if self._threads is None:
            slots = self._subscriber.intake.concurrency
            self._threads = ThreadPoolExecutor(slots, thread_name_prefix=f"callboard-{action.actor}")
        return self._threads

    async def _report(self, delivery: BrokerDelivery, verdict: Verdict, attempt: int) -> None:
        """One line for each failed attempt, the traceback with the last one only."""
        error = verdict.error
        if verdict.failure is FailureClass.REFUSAL:
            logger.debug("message %s of %s refused: %s", delivery.sequence, delivery.durable, error)
            return
        then = f"again in {verdict.delay:.1f} s" if verdict.delay else f"-> {verdict.settlement.value}"
        logger.warning(
            "message %s of %s failed (attempt %d, %s): %s: %s; %s",
            delivery.sequence,
            delivery.durable,
            attempt,
            verdict.failure.value if verdict.failure else "",
            type(error).__name__,
            error,
            then,
            exc_info=error if verdict.reply is not None and not isinstance(error, CallboardError) else None,
        )
        await self._tell_actor(delivery, error)

    def _crash(self, error: BaseException) -> None:
        """Let `wait()` raise; the first crash counts. What waits is not for this instance any more."""
        self._subscriber.intake.close()
        if self._crashed is not None and not self._crashed.done():
            self._crashed.set_exception(error)

    async def _tell_actor(self, delivery: BrokerDelivery, error: BaseException | None) -> None:
        if self._on_failure is None or error is None or isinstance(error, ContentDecodeError | SubstrateError):
            return
        try:
            answer = self._on_failure(error, delivery.message)
            if answer is not None:
                await answer
        except BaseException as raised:
            if _ends_slot(raised):
                raise
            logger.exception("on_failure of %s raised", delivery.durable)


def _ends_slot(error: BaseException) -> bool:
    """Whether an exception ends the task and not just the message: somebody cancels the task, or the process ends.

    A handler may raise `CancelledError` by itself, and frameworks raise subclasses of `BaseException`.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)


def _answer(delivery: BrokerDelivery, response: BrokerResponse) -> Verdict:
    """The verdict on a success that somebody waits for. What the headers variable holds goes on the reply."""
    headers = {**(REQUEST_HEADERS_CONTEXT_VAR.get() or {}), **(response.headers or {})}
    response = BrokerResponse(response.content, status=response.status, headers=headers)
    try:
        return Verdict(Settlement.ACK, reply=response, frame=reply_frame(delivery, response))
    except TopicError:  # the request's fault, not the handler's: the settler reports it
        return Verdict(Settlement.ACK, reply=response)


def _describe(span: Span, verdict: Verdict, attempt: int) -> None:
    span.set("callboard.attempt", attempt)
    span.set("callboard.settlement", verdict.settlement.value)
    if verdict.failure is not None:
        span.set("callboard.failure.class", verdict.failure.value)
    if verdict.error is not None and verdict.failure is not FailureClass.REFUSAL:
        span.fail(type(verdict.error).__name__, str(verdict.error))
