"""FastStream's publish to a stream: it waits for the acknowledgement, so that many tasks publish."""

from __future__ import annotations

from uuid import uuid4

from benchmarks.asking import send_all
from benchmarks.contenders.faststream.broker import open_broker
from benchmarks.work import Figures, Work

__all__ = ["run"]


async def run(work: Work) -> Figures:
    """Makes repeating safe as Callboard does (`Nats-Msg-Id`)."""
    places: set[int] = set()
    async with open_broker(work) as (broker, _):
        await broker.connect()

        async def send(_number: int, content: dict[str, object]) -> None:
            headers = {"Nats-Msg-Id": str(uuid4())}
            places.add((await broker.publish(content, work.topic, stream=work.stream, headers=headers)).seq)

        seconds = await send_all(work.number("in_flight"), work.contents(), send)
        await broker.stop()
    return {"rate": work.messages / seconds, "seconds": seconds, "acknowledged": len(places)}
