"""What becomes of messages whose worker died, settled in a worker that lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from attrs import evolve

from callboard.brokers.attempts import CONVICTED, SUSPECT, Past
from callboard.brokers.deadletter import DEAD_LETTER_PAUSE
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.intake import LEASE_SHARE
from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.transport import BrokerTransport
from callboard.errors import CallboardError, HandlerTimeoutError, SubstrateError, WorkerDiedError
from callboard.instrumentation import Instrumentation
from callboard.routing.action import Action
from callboard.routing.attempt import judge, remaining
from callboard.routing.failure import Outage, Settlement, Verdict
from callboard.routing.settlement import Settler
from callboard.system.orphan import Fate, Orphan

__all__ = ["Recovery"]

logger = logging.getLogger("callboard.worker")

AT_ONCE = 32
"""Orphans that are settled at the same time."""
PAUSE = 1.0
"""Seconds until orphans are tried again that could not be settled."""

Handlers = Mapping[str, tuple[Action, MailboxSpec]]
"""What runs here, by durable."""


class Recovery:
    """Settles orphans: what hung has failed and goes by its handler's failure policy, a suspect is remembered as one
    and comes again at once, what is convicted becomes a dead letter, the innocent come again at once.

    Settling an orphan twice changes nothing. Where its lease has probably run out, nothing is handed back: the server
    has given the message to somebody else, or will.
    """

    def __init__(
        self,
        transport: BrokerTransport,
        handlers: Handlers,
        instrumentation: Instrumentation,
        *,
        note: Callable[[Orphan], None],
        settled: Callable[[Orphan], None],
    ) -> None:
        """`note` hears what is to be known should this process die too; `settled` of what nobody need do again."""
        self._transport = transport
        self._attempts = transport.attempts
        self._handlers = handlers
        self._settler = Settler(transport.subscriber(()), instrumentation)
        self._note = note
        self._settled = settled
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def settle(self, orphans: Sequence[Orphan]) -> None:
        """Settle all of them, however long the transport is away. Cancelling leaves the others as they are."""
        while orphans:
            left = await asyncio.gather(*(self._tried(orphan) for orphan in orphans))
            orphans = [orphan for orphan in left if orphan is not None]
            if orphans:
                await asyncio.sleep(PAUSE)

    async def _tried(self, orphan: Orphan) -> Orphan | None:
        """The orphan, as it is to be tried again; None when it is done."""
        async with self._turn:
            try:
                delivery = await self._transport.recover(orphan.token)
                if delivery is not None:
                    orphan = await self._known(orphan, delivery)
                    await self._settle(orphan, delivery)
            except SubstrateError as error:
                logger.warning("message at %s, whose worker died, is not settled yet: %s", orphan.token, error)
                return orphan
            except Exception:
                logger.exception("message at %s cannot be settled; it comes again after its lease", orphan.token)
        self._settled(orphan)
        return None

    async def _known(self, orphan: Orphan, delivery: BrokerDelivery) -> Orphan:
        """The orphan with its past, which is the same when it is settled for the second time."""
        if orphan.past is None:
            orphan = evolve(orphan, past=await self._attempts.past(delivery))
            self._note(orphan)
        return orphan

    async def _settle(self, orphan: Orphan, delivery: BrokerDelivery) -> None:
        past = orphan.past or Past()
        action, mailbox = self._handlers.get(delivery.durable, (None, None))
        match orphan.fate:
            case Fate.HUNG if action is not None and mailbox is not None:
                error = HandlerTimeoutError(action.endpoint.function, action.options.hard_timeout or orphan.ran)
                await self._fail(delivery, action, error, past, fresh=self._is_fresh(orphan, mailbox))
            case Fate.CONVICTED if action is not None:
                past = evolve(past, deaths=CONVICTED)
                await self._attempts.record(delivery, past)
                await self._fail(delivery, action, WorkerDiedError(CONVICTED), past, fresh=True)
            case _:
                await self._hand_back(orphan, delivery, past, mailbox)

    async def _hand_back(
        self, orphan: Orphan, delivery: BrokerDelivery, past: Past, mailbox: MailboxSpec | None
    ) -> None:
        """No attempt is used. What is handled elsewhere (another version's handler) is not judged here either."""
        if orphan.fate is Fate.SUSPECT and past.deaths < SUSPECT:
            await self._attempts.record(delivery, evolve(past, deaths=SUSPECT))
        fresh = mailbox is not None and self._is_fresh(orphan, mailbox)
        logger.warning(
            "message %d of %s ran in a worker that died (%s); %s",
            delivery.sequence,
            delivery.durable,
            orphan.fate.value,
            "it comes again at once" if fresh else "it comes again after its lease",
            extra=delivery.log_fields,
        )
        if fresh:
            await delivery.nak()

    def _is_fresh(self, orphan: Orphan, mailbox: MailboxSpec) -> bool:
        """Whether the lease certainly holds: it was renewed at the latest a share of `ack_wait` before."""
        return self._transport.clock.time() - orphan.renewed < mailbox.ack_wait * (1 - LEASE_SHARE)

    async def _fail(
        self, delivery: BrokerDelivery, action: Action, error: CallboardError, past: Past, *, fresh: bool
    ) -> None:
        """A failed attempt, as if its handler had raised `error`; it gets the span that died with its worker."""
        verdict = self._judge(delivery, action, error, past.failed + 1)
        await self._settler.conclude(delivery, action.endpoint, verdict, past, fresh=fresh)

    def _judge(self, delivery: BrokerDelivery, action: Action, error: CallboardError, attempt: int) -> Verdict:
        """The verdict of the handler's policy. There is no mailbox here to pause: a failure that asks for it costs no
        attempt, and its message waits."""
        left = remaining(delivery, self._transport.clock)
        verdict = judge(action, error, attempt=attempt, remaining=left)
        if verdict.outage is Outage.YES and left > DEAD_LETTER_PAUSE:
            return evolve(verdict, settlement=Settlement.HAND_BACK, delay=DEAD_LETTER_PAUSE, reply=None)
        return verdict
