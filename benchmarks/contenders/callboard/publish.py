"""Publish and wait for each acknowledgement, many at the same time."""

from __future__ import annotations

from typing import Any

from benchmarks.asking import send_all
from benchmarks.work import Figures, Work
from callboard import connect

__all__ = ["run"]


async def run(work: Work) -> Figures:
    """`rate` is in acknowledgements a second; `acknowledged` counts different places in the stream."""
    contents = work.contents()
    places: set[int] = set()
    async with connect(work.url) as board:

        async def send(_number: int, content: dict[str, Any]) -> None:
            places.add((await board.publish(work.topic, content)).sequence)

        seconds = await send_all(work.number("in_flight"), contents, send)
    return {"rate": work.messages / seconds, "seconds": seconds, "acknowledged": len(places)}
