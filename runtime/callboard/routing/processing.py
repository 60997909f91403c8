"""What happens to one delivery between its mailbox and its settlement.

On the hot path of the handler loop: a first attempt that succeeds makes no task, asks nobody and compares little.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from math import inf

from attrs import evolve

from callboard.brokers import wire
from callboard.brokers.attempts import CONVICTED, NO_PAST, SUSPECT
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.errors import (
    ActorCrash,
    AttemptsExhaustedError,
    ContentDecodeError,
    DeadlineExceededError,
    HandlerTimeoutError,
    PublishRefusedError,
    SubstrateError,
    WorkerDiedError,
)
from callboard.instrumentation import NO_SPAN, Instrumentation, Span
from callboard.message import BrokerMessage, BrokerMessageV1Strategy
from callboard.routing.action import Action
from callboard.routing.attempt import (
    UNHANDLED,
    describe,
    ends_task,
    found,
    judge,
    remaining,
    report,
    respond,
    run_directly,
    tell,
)
from callboard.routing.current import Current
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.failure import SUBSTRATE_PAUSE, FailureClass, Settlement, Verdict
from callboard.routing.outage import weighed
from callboard.routing.settlement import Settler, answered, hand_back
from callboard.routing.slot import Interruption, Slot
from callboard.routing.solitude import Solitude
from callboard.routing.stage import Stage
from callboard.statistics import MailboxStatistics

__all__ = ["OnFailure", "Processing"]

logger = logging.getLogger("callboard.handler")

OnFailure = Callable[[BaseException, BrokerMessage], Awaitable[None] | None]

_MULTICAST = BrokerMessageV1Strategy.MULTICAST.value
_DONE = Verdict(Settlement.ACK)


class Processing:
    """Handles the deliveries of one handler loop, each in a slot. `on_crash` hears of an actor that cannot go on."""

    def __init__(
        self,
        dispatcher: BrokerDispatcher,
        subscriber: BrokerSubscriber,
        *,
        instrumentation: Instrumentation,
        stage: Stage,
        solitude: Solitude,
        on_failure: OnFailure | None,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._attempts = subscriber.attempts
        self._transport = subscriber.transport
        self._settler = Settler(subscriber, instrumentation, dispatcher.publisher)
        self._instrumentation = instrumentation
        self._statistics = instrumentation.statistics
        self._mailboxes = self._statistics.mailboxes
        self._stage = stage
        self._solitude = solitude
        self._on_failure = on_failure
        self._crash = on_crash

    async def handle(self, slot: Slot, delivery: BrokerDelivery) -> None:
        """Handle and settle a delivery that `slot` took up. Raises when it could not be settled."""
        headers = delivery.headers
        if headers and delivery.is_misdirected:
            await delivery.ack()
            return
        action = self._dispatcher.action_for(delivery)
        if headers and headers.get(wire.STRATEGY) == _MULTICAST:
            self._dispatcher.notice_multicast(action)
        span = self._instrumentation.process(UNHANDLED if action is None else action.endpoint, delivery)
        token = span.enter()
        try:
            past = await self._attempts.past(delivery) if delivery.repeated else NO_PAST
            slot.remember(action, past)
            if past.deaths == SUSPECT or (self._solitude.closed and not self._is_awaited_here(delivery)):
                await self._process_gated(slot, delivery, span)
            else:
                await self._process(slot, delivery, span)
        except (SubstrateError, PublishRefusedError) as error:
            logger.warning("message %s of %s goes back: %s", delivery.sequence, delivery.durable, error)
            slot.lane.pause(self._transport.clock.time() + SUBSTRATE_PAUSE)
            tell(span, Verdict(Settlement.HAND_BACK, error=error, failure=FailureClass.SUBSTRATE))
            await hand_back(delivery, SUBSTRATE_PAUSE, span)
        except BaseException as error:
            span.fail(type(error).__name__, str(error))
            raise
        finally:
            span.leave(token)
            span.end()

    def count(self, slot: Slot, delivery: BrokerDelivery, seconds: float) -> None:
        """A delivery that was handled is settled, `seconds` after its slot took it up."""
        error_type = slot.error_type or ""
        mailbox = self._mailboxes.get(delivery.durable) or self._mailbox(slot.action, delivery)
        mailbox.settled(seconds, error_type, again=delivery.delivered > 1)
        if self._instrumentation.measures:
            self._instrumentation.measure(delivery.durable, seconds, error_type)

    def _mailbox(self, action: Action | None, delivery: BrokerDelivery) -> MailboxStatistics:
        endpoint = UNHANDLED if action is None else action.endpoint
        return self._statistics.mailbox(delivery.durable, endpoint.actor, endpoint.topic)

    def _is_awaited_here(self, delivery: BrokerDelivery) -> bool:
        reply_topic = delivery.headers.get(wire.REPLY_TOPIC)
        return reply_topic is not None and self._transport.awaits(reply_topic)

    async def _process_gated(self, slot: Slot, delivery: BrokerDelivery, span: Span) -> None:
        """A suspect runs alone in its process; others wait until it has ended."""
        async with AsyncExitStack() as stack:
            slot.enter_gate()
            row = self._solitude.hold(delivery.token)
            try:
                if slot.past.deaths == SUSPECT:
                    await stack.enter_async_context(self._solitude.alone())
                else:
                    await self._solitude.opened()
            except asyncio.CancelledError:
                slot.leave_handler()
                if slot.interruption is not Interruption.STOP:
                    raise
                await hand_back(delivery, 0.0, span)
                return
            finally:
                self._solitude.release(row)
            slot.leave_handler()
            await self._process(slot, delivery, span)

    async def _process(self, slot: Slot, delivery: BrokerDelivery, span: Span) -> None:
        """One attempt and its settlement."""
        lane, action = slot.lane, slot.action
        limit = self._hard_limit(action)
        row = self._solitude.begin(delivery.token, limit, alone=slot.past.deaths == SUSPECT)
        try:
            verdict = await self._attempt(slot, action, delivery, limit)
            if verdict.failure is not None or lane.switch.failures or not lane.is_open:
                verdict = weighed(lane, delivery, verdict, self._transport.clock, first=slot.attempt == 1)
                if verdict.failure is not None:
                    await self._report(delivery, verdict, slot.attempt)
            else:
                lane.switch.quiet += 1
            if span.records:
                describe(span, slot.attempt, verdict)
            if verdict is _DONE:  # nobody waits for an answer
                await delivery.ack()
                span.event("ack")
                slot.error_type = ""
                return
            await self._settle(slot, delivery, verdict, span)
            slot.error_type = _error_type(verdict)
            if verdict.failure is FailureClass.ACTOR and verdict.error is not None:
                with suppress(AttributeError):  # the restart's span goes under this attempt's
                    verdict.error.carrier = dict(span.carrier)  # type: ignore[attr-defined]
                self._crash(verdict.error)
        finally:
            self._solitude.end(row)

    async def _settle(self, slot: Slot, delivery: BrokerDelivery, verdict: Verdict, span: Span = NO_SPAN) -> None:
        now = self._transport.clock.time()
        if verdict.settlement is not Settlement.ACK and now - delivery.touched > slot.lane.lease:
            self._mailbox(slot.action, delivery).leases_lost += 1
            logger.warning(
                "message %s of %s: its lease ran out while it was handled; its next delivery decides",
                delivery.sequence,
                delivery.durable,
            )
            span.event("lease lost")
            if verdict.settlement in {Settlement.RETRY, Settlement.DEAD_LETTER}:  # it counts, or it would run for ever
                await self._attempts.record(delivery, evolve(slot.past, failed=slot.attempt))
            return
        endpoint = UNHANDLED if slot.action is None else slot.action.endpoint
        if pause := await self._settler.settle(delivery, endpoint, verdict, slot.past, span=span):
            slot.lane.pause(now + pause)

    def _hard_limit(self, action: Action | None) -> float:
        """When the handler that begins now counts as hung."""
        seconds = None if action is None else action.options.hard_timeout
        return inf if seconds is None else self._transport.clock.time() + seconds

    async def give_up_on(self, slot: Slot) -> None:
        """A handler outlived its hard limit and nobody replaces this process: its message has failed, and its actor."""
        action, delivery = slot.action, slot.delivery
        if action is None or delivery is None:
            return
        error = HandlerTimeoutError(action.endpoint.function, action.options.hard_timeout or 0.0)
        verdict = judge(action, error, attempt=slot.attempt, remaining=remaining(delivery, self._transport.clock))
        try:
            await self._report(delivery, verdict, slot.attempt)
            await self._settle(slot, delivery, verdict)
        finally:
            self._crash(ActorCrash(f"{error}, and does not end"))

    async def _attempt(self, slot: Slot, action: Action | None, delivery: BrokerDelivery, limit: float) -> Verdict:
        """Run the handler once, and judge. The answer is encoded here, so that a result that cannot be sent is a
        failure of this attempt."""
        expires = wire.parse_time(delivery.headers.get(wire.DEADLINE)) if delivery.headers else None
        try:
            if delivery.is_filtered and not await delivery.admit():
                if delivery.duplicate:
                    self._mailbox(action, delivery).duplicates += 1
                return _DONE
            if slot.past.deaths >= CONVICTED:
                raise WorkerDiedError(slot.past.deaths)  # noqa: TRY301 - judged like all that a message fails with
            due = self._due(action, delivery, expires)
            if slot.past.failed > len(due.policy.delays):
                raise AttemptsExhaustedError(slot.past.failed)  # noqa: TRY301
            current = Current(delivery, expires, due.endpoint.actor, slot.attempt)
            slot.enter_handler(self._deadline_of(due), inf if self._solitude.table is not None else limit)
            if due.direct and (not delivery.headers or wire.is_plain(delivery.headers)):
                response = await run_directly(due, delivery, current)
            else:
                wanted = delivery.message.should_reply
                response = await respond(due, delivery.message, current, self._stage, wanted=wanted)
                response = response if wanted else None
            slot.leave_handler()
            return _DONE if response is None else answered(delivery, response)
        except BaseException as error:  # whatever a handler raises is judged, here and only here
            slot.leave_handler()
            if ends_task(error):
                raise
            if slot.interruption is Interruption.STOP:  # whatever it raised, it was not left to finish
                return Verdict(Settlement.HAND_BACK, error=error)
            failure = _timeout(slot, action, error)
        left = remaining(delivery, self._transport.clock)
        return judge(action, failure, attempt=slot.attempt, remaining=left)

    def _due(self, action: Action | None, delivery: BrokerDelivery, expires: datetime | None) -> Action:
        """The handler, if there is one and somebody still waits for it."""
        handler = found(action, delivery.topic)
        if expires is not None and expires < self._transport.clock.now():
            raise DeadlineExceededError(delivery.topic, wire.format_time(expires))
        return handler

    def _deadline_of(self, action: Action) -> float:
        """When a handler that begins now is cancelled; a thread cannot be."""
        timeout = action.options.timeout if action.asynchronous else None
        return inf if timeout is None else self._transport.clock.time() + timeout

    async def _report(self, delivery: BrokerDelivery, verdict: Verdict, attempt: int) -> None:
        then = f"again in {verdict.delay:.1f} s" if verdict.delay else f"-> {verdict.settlement.value}"
        report(f"message {delivery.sequence} of {delivery.durable}", verdict, attempt, then)
        if verdict.failure is not FailureClass.REFUSAL:
            await self._tell_actor(delivery, verdict.error)

    async def _tell_actor(self, delivery: BrokerDelivery, error: BaseException | None) -> None:
        if self._on_failure is None or error is None or isinstance(error, ContentDecodeError | SubstrateError):
            return
        try:
            told = self._on_failure(error, delivery.message)
            if told is not None:
                await told
        except BaseException as raised:
            if ends_task(raised):
                raise
            logger.exception("on_failure of %s raised", delivery.durable)


def _error_type(verdict: Verdict) -> str | None:
    """What a delivery counts as; a refusal is an answer. None for what a stop handed back, which comes again."""
    if verdict.failure is None:
        return None if verdict.settlement is Settlement.HAND_BACK else ""
    return "" if verdict.failure is FailureClass.REFUSAL else type(verdict.error).__name__


def _timeout(slot: Slot, action: Action | None, error: BaseException) -> BaseException:
    """What a handler failed with, where its cancellation was its timeout."""
    if not (isinstance(error, asyncio.CancelledError) and slot.interruption is Interruption.TIMEOUT and action):
        return error
    failure = HandlerTimeoutError(action.endpoint.function, action.options.timeout or 0.0)
    failure.__cause__ = error
    return failure
