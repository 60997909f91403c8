"""What listens to a subject, on whichever connection there is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from callboard.jetstream.client import Arrived, NatsClient

__all__ = ["Listener"]

logger = logging.getLogger("callboard.connection")

DRAIN = 2.0
"""Seconds to wait for the server's word that nothing more comes."""

_DRAINING: set[asyncio.Future[None]] = set()
"""Drains that outlived their caller's patience; they end within nats-py's own limit of 10 s."""


class Listener:
    """Hears everything on `subject`, one message after the other, until it is drained or unsubscribed.

    `arrived` is called by the task that reads from the network. `left` is called when it listens no more; `denied`, if
    there is one, whenever the server does not let it listen: not to hear anything is then no error.
    """

    def __init__(
        self,
        subject: str,
        arrived: Arrived,
        left: Callable[[Listener], None],
        denied: Callable[[], None] | None = None,
    ) -> None:
        self.subject = subject
        self.denied = denied
        self._arrived = arrived
        self._left = left
        self._client: NatsClient | None = None
        self._subscription: Subscription | None = None

    async def attach(self, client: NatsClient) -> None:
        """Listen on this connection, instead of the one before. Raises what nats-py raises."""
        self._client = client
        self._subscription = await client.hear(self.subject, self._arrived)

    async def unsubscribe(self) -> None:
        """Listen no more. Idempotent."""
        self._left(self)
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await _ended(subscription.unsubscribe())

    async def drain(self) -> None:
        """Listen no more; return when everything has arrived that was on its way. Idempotent.

        When the server does not answer within 2 s, what it still sends reaches nobody.
        """
        self._left(self)
        subscription, self._subscription = self._subscription, None
        if subscription is None or self._client is None:
            return
        # UNSUB, PING, PONG; never cancelled, because a PONG for a cancelled wait kills nats-py's read loop.
        ending = subscription.drain() if self._client.is_connected else subscription.unsubscribe()
        drained = asyncio.ensure_future(_ended(ending))
        _DRAINING.add(drained)
        drained.add_done_callback(_DRAINING.discard)
        await asyncio.wait({drained}, timeout=DRAIN)


async def _ended(ending: Awaitable[None]) -> None:
    try:
        await ending
    except (TimeoutError, NatsError, OSError) as error:
        logger.debug("end of a subscription: %s", error)
