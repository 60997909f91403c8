"""Drain preloaded events: one serial actor against a hand-written nats-py loop, interleaved, medians."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import time
from collections.abc import Awaitable, Callable

import nats
from attrs import frozen
from nats.aio.msg import Msg

from callboard import Actor, Supervisor, System, event
from callboard.codec import JSON
from callboard.embedded import EmbeddedServer

BATCH = 1000


@frozen
class Departure:
    """What both sides decode."""

    carrier: str
    flight: int
    origin: str
    dest: str
    dep_delay: float | None
    distance: int


BODY = json.dumps(
    {"carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH", "dep_delay": 2.0, "distance": 1400}
).encode()


class Counter:
    """Effects of one round."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.handled = 0
        self.done = asyncio.Event()

    def count(self) -> None:
        """One message is handled."""
        self.handled += 1
        if self.handled == self.expected:
            self.done.set()


counter = Counter(0)


class Drain(Actor):
    """The actor that is measured."""

    @event("flights.departed")
    async def departed(self, _departure: Departure) -> None:
        """Count."""
        counter.count()


async def preload(url: str, messages: int) -> None:
    """Fill the stream."""
    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name="FLIGHTS", subjects=["flights", "flights.>"])
    for _ in range(messages):
        await client.publish("flights.departed", BODY)
    while (await stream.stream_info("FLIGHTS")).state.messages < messages:
        await asyncio.sleep(0.05)
    await client.close()


async def with_callboard(url: str, number: int) -> None:
    """One round with an actor of a fresh service."""
    async with System(Supervisor([Drain]), nats=url, name=f"round{number}"):
        await counter.done.wait()


async def by_hand(url: str, number: int) -> None:
    """One round with the same work on nats-py alone."""
    client = await nats.connect(url)
    durable = f"hand{number}"
    await client.jetstream().add_consumer(
        "FLIGHTS",
        durable_name=durable,
        ack_policy="explicit",
        max_ack_pending=100_000,
        filter_subject="flights.departed",
    )
    inbox = client.new_inbox()
    pull = json.dumps({"batch": BATCH, "expires": 30_000_000_000}).encode()
    owed = 0

    async def ask() -> None:
        nonlocal owed
        owed += BATCH
        await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.FLIGHTS.{durable}", pull, reply=f"{inbox}.1")

    async def arrived(message: Msg) -> None:
        nonlocal owed
        if not message.reply:
            return
        owed -= 1
        JSON.loads(message.data, Departure)
        counter.count()
        await client.publish(message.reply)
        if owed < BATCH // 2:
            await ask()

    await client.subscribe(f"{inbox}.*", cb=arrived)
    await ask()
    await counter.done.wait()
    await client.close()


async def measure(round_: Callable[[str, int], Awaitable[None]], url: str, number: int, messages: int) -> float:
    """Messages a second of one round; a round that lost or repeated something is void."""
    global counter  # noqa: PLW0603 - the actor class has no other way to the round's counter
    counter = Counter(messages)
    begun = time.perf_counter()
    await round_(url, number)
    seconds = time.perf_counter() - begun
    if counter.handled != messages:
        raise SystemExit(f"void: {counter.handled} effects of {messages} messages")
    return messages / seconds


async def main(messages: int, rounds: int) -> None:
    """Interleave the rounds and print medians and their ratio."""
    results: dict[str, list[float]] = {"callboard": [], "by hand": []}
    async with EmbeddedServer(port=0) as server:
        await preload(server.url, messages)
        for number in range(rounds):
            results["callboard"].append(await measure(with_callboard, server.url, number, messages))
            results["by hand"].append(await measure(by_hand, server.url, number, messages))
    for name, rates in results.items():
        print(f"{name:10} {statistics.median(rates):8.0f} msg/s  ({min(rates):.0f} to {max(rates):.0f})")
    ours, floor = (statistics.median(results[name]) for name in ("callboard", "by hand"))
    print(f"ratio      {ours / floor:8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    logging.basicConfig(level="WARNING")
    asyncio.run(main(arguments.messages, arguments.rounds))
