"""The messages of the flow tests, and what they look at on the server."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

from typing import Any

from attrs import frozen
from nats.js import JetStreamContext

from tests.jetstream.service import durable_of


@frozen
class Order:
    item: str
    count: int = 1


@frozen
class Placed:
    number: int
    order: Order


async def dead_letters(js: JetStreamContext) -> list[Any]:
    """All dead letters, in order."""
    state = (await js.stream_info("CALLBOARD_DEAD")).state
    return [await js.get_msg("CALLBOARD_DEAD", sequence) for sequence in range(1, state.last_seq + 1)]


async def has_letters(js: JetStreamContext, count: int) -> bool:
    return (await js.stream_info("CALLBOARD_DEAD")).state.messages == count


async def done_with(js: JetStreamContext, actor: Any, topic: str, stream: str = "ORDERS") -> bool:
    """Whether the mailbox of a handler is empty and everything is settled."""
    info = await js.consumer_info(stream, durable_of(actor, topic))
    return not info.num_pending and not info.num_ack_pending
