"""`callboard request`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import typer

from callboard.brokers.topic import check_topic
from callboard.cli.argument import Content, Headers, Nats, Topic, read_content, read_headers, show
from callboard.cli.tracing import traced
from callboard.errors import RemoteError
from callboard.system import connect
from callboard.system.exitcode import ExitCode

__all__ = ["request"]

Timeout = Annotated[
    float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="How long to wait for the reply")
]


def request(
    topic: Topic, content: Content = None, timeout: Timeout = 5.0, header: Headers = None, nats: Nats = None
) -> None:
    """Send a command or query and print the reply's content as JSON.

    Example: callboard request orders.place '{"item": "soup"}' --timeout 2.5

    Exit codes: 0 answered, 1 error reply (its content is still printed), 2 wrong use (nothing sent), 3 no server,
    4 no reply in time (outcome unknown), 5 refused (no stream, nobody handles the topic, permission).
    """
    check_topic(topic)
    sent = read_content(content)
    headers = read_headers(header)
    try:
        show(asyncio.run(_request(topic, sent, timeout, headers, nats)))
    except RemoteError as error:
        if error.content is not None:
            show(error.content)
        sys.stderr.write(f"callboard: {error}\n")
        raise typer.Exit(ExitCode.ERROR_REPLY) from error


async def _request(topic: str, content: Any, timeout: float, headers: dict[str, str], nats: str | None) -> Any:
    with traced():
        async with connect(nats, name="callboard request") as board:
            return await board.request(topic, content, timeout=timeout, headers=headers)
