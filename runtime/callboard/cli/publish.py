"""`callboard publish`."""

from __future__ import annotations

import asyncio
from typing import Any

import typer

from callboard.brokers.topic import check_topic
from callboard.brokers.transport import Receipt
from callboard.cli.argument import Content, Headers, Nats, Topic, read_content, read_headers
from callboard.cli.tracing import traced
from callboard.system import connect

__all__ = ["publish"]


def publish(topic: Topic, content: Content = None, header: Headers = None, nats: Nats = None) -> None:
    """Publish a message and wait until it is stored.

    Example: callboard publish orders.placed '{"item": "tea"}' --header priority=low

    Exit codes: 0 stored, 2 wrong use (nothing sent), 3 no server, 4 outcome unknown, 5 refused by the server.
    """
    check_topic(topic)
    receipt = asyncio.run(_publish(topic, read_content(content), read_headers(header), nats))
    again = " (it was there already)" if receipt.duplicate else ""
    typer.echo(f"{receipt.topic} stored in {receipt.stream} as message {receipt.sequence}{again}")


async def _publish(topic: str, content: Any, headers: dict[str, str], nats: str | None) -> Receipt:
    with traced():
        async with connect(nats, name="callboard publish") as board:
            return await board.publish(topic, content, headers=headers)
