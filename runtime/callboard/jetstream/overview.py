"""All mailboxes that a server has, of whatever service, as an operator wants to see them; and how to halt them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from attrs import evolve, frozen

from callboard.config import Config
from callboard.jetstream.api import ConsumerInfo, JetStreamApi
from callboard.jetstream.connection import ConnectionOptions, NatsConnection
from callboard.jetstream.durable import ACTOR, SERVICE, kind_of

__all__ = ["MailboxView", "Overview", "overview_of"]

FOR_EVER = timedelta(days=365 * 100)
"""What stands for a pause without an end: the server knows only pauses that have one."""
NEARLY_FOR_EVER = timedelta(days=365 * 50)


@frozen
class MailboxView:
    """One mailbox as its server sees it now."""

    service: str
    actor: str
    kind: str
    topics: tuple[str, ...]
    stream: str
    durable: str
    lag: int
    """Messages that nobody was handed yet."""
    in_progress: int
    """Messages that somebody was handed and that are not settled: running, waiting in a worker, or waiting for a
    retry."""
    redelivered: int
    """Those of them that were handed over more than once."""
    oldest: float
    """Seconds since the oldest message that is not settled was stored; 0.0 when there is none."""
    pulls: int
    """Requests for messages that wait at the server: no worker reads where there is none, and nothing in progress."""
    delivered: int
    """Deliveries since the durable was made, redeliveries included."""
    paused_for: float
    """Seconds until its pause ends by itself; infinite without an end, 0.0 when it is not paused."""
    rate: float = 0.0
    """Deliveries a second, between this look and the one before."""

    @property
    def state(self) -> str:
        """`paused`, `working`, `idle`, or `nobody`: no worker asks for messages."""
        if self.paused_for > 0:
            return "paused"
        if not self.pulls and not self.in_progress:
            return "nobody"
        return "working" if self.lag or self.in_progress else "idle"


class Overview:
    """Asks the server; needs no code of the services."""

    def __init__(self, api: JetStreamApi) -> None:
        self._api = api
        self._before: dict[tuple[str, str], tuple[int, float]] = {}
        """Deliveries by stream and durable, and when that was."""

    async def look(self) -> list[MailboxView]:
        """All mailboxes, by service, actor and topic; at the first look their rates are 0.0. Raises as the API's calls
        do."""
        found: list[MailboxView] = []
        for stream in await self._api.streams():
            ours = [consumer for consumer in await self._api.consumers(stream) if kind_of(consumer) is not None]
            found += [self._with_rate(await self._view(stream, consumer)) for consumer in ours]
        return sorted(found, key=lambda view: (view.service, view.actor, view.topics))

    async def pause(self, actor: str, seconds: float | None = None) -> list[MailboxView]:
        """Have no mailbox of an actor hand out messages, for so many seconds or until `resume`. What runs goes on.

        Returns the mailboxes; none when there is no such actor.
        """
        until = datetime.now(UTC) + (FOR_EVER if seconds is None else timedelta(seconds=seconds))
        return await self._set(actor, {"pause_until": until.isoformat().replace("+00:00", "Z")})

    async def resume(self, actor: str) -> list[MailboxView]:
        """End a `pause`. Returns the mailboxes."""
        return await self._set(actor, {})

    async def _set(self, actor: str, request: dict[str, Any]) -> list[MailboxView]:
        views = [view for view in await self.look() if view.actor == actor]
        for view in views:
            await self._api.call(f"CONSUMER.PAUSE.{view.stream}.{view.durable}", request)
        return views

    async def _view(self, stream: str, consumer: ConsumerInfo) -> MailboxView:
        kind = kind_of(consumer)
        return MailboxView(
            service=consumer.metadata.get(SERVICE, ""),
            actor=consumer.metadata.get(ACTOR, ""),
            kind="" if kind is None else kind.value,
            topics=tuple(sorted(consumer.filters)),
            stream=stream,
            durable=consumer.name,
            lag=consumer.pending,
            in_progress=consumer.unsettled,
            redelivered=consumer.redelivered,
            oldest=await self._api.oldest(stream, consumer) if consumer.waits else 0.0,
            pulls=consumer.pulls,
            delivered=consumer.delivered,
            paused_for=_seconds(consumer.pause_remaining),
        )

    def _with_rate(self, view: MailboxView) -> MailboxView:
        now = monotonic()
        key = (view.stream, view.durable)
        delivered, at = self._before.get(key, (view.delivered, now))
        self._before[key] = (view.delivered, now)
        return evolve(view, rate=max(0, view.delivered - delivered) / (now - at)) if now > at else view


def _seconds(remaining: timedelta) -> float:
    return float("inf") if remaining > NEARLY_FOR_EVER else remaining.total_seconds()


@asynccontextmanager
async def overview_of(config: Config) -> AsyncGenerator[Overview]:
    """On a connection of its own. Raises `NoServerError`."""
    options = evolve(ConnectionOptions.from_config(config), name="callboard")
    async with NatsConnection(options) as connection:
        yield Overview(JetStreamApi(connection))
