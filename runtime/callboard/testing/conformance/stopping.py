"""What becomes of messages when handlers stop, hang or die."""

# ruff: noqa: S101 - behaviours are tests

from __future__ import annotations

import asyncio

from callboard.routing.decorator import command
from callboard.testing.conformance.conformance import Conformance
from callboard.testing.conformance.step import (
    ANSWERS,
    PLACE,
    answers,
    contents,
    handling,
    message,
    send,
    take,
)
from callboard.testing.conformance.system import STEP, Messaging
from callboard.testing.features import needs

__all__ = ["StoppingConformance"]

SLACK = 3.0
"""Seconds that a stop may take beyond its deadline."""


class StoppingConformance(Conformance):
    """Behaviours of a `BrokerHandler` that ends."""

    async def test_stop_waits_for_what_runs_and_the_reply_is_sent(self, messaging: Messaging) -> None:
        """C40."""
        begun, finish = asyncio.Event(), asyncio.Event()

        @command(PLACE)
        async def place() -> str:
            begun.set()
            await finish.wait()
            return "done"

        async with answers(messaging) as answered:
            async with handling(messaging.subscriber([PLACE]), place) as handler:
                await send(messaging, message(1, PLACE, reply_topic=ANSWERS))
                await asyncio.wait_for(begun.wait(), 20)
                stopping = asyncio.create_task(handler.stop(20.0))
                await messaging.advance(STEP)
                assert not stopping.done()
                finish.set()
                await stopping
            assert await contents(answered, 1) == ["done"]

    @needs("durable")
    async def test_three_graceful_restarts_lose_nothing_and_repeat_nothing(self, messaging: Messaging) -> None:
        """S04."""
        seen: list[int] = []
        turn = asyncio.Semaphore(0)

        @command(PLACE)
        async def place(number: int) -> None:
            await turn.acquire()
            seen.append(number)

        await send(messaging, *(message(number, PLACE) for number in range(24)))
        for handled in (6, 12, 18, 24):
            async with handling(messaging.subscriber([PLACE]), place, concurrency=2, grace=0.0):
                for _ in range(6):
                    turn.release()
                await messaging.until(lambda handled=handled: len(seen) >= handled)  # type: ignore[misc]
        assert sorted(seen) == list(range(24))

    @needs("durable")
    async def test_hung_handler_is_left_in_time_and_its_message_comes_again(self, messaging: Messaging) -> None:
        """S07. Handing back is no attempt: there is only one."""
        hung = asyncio.Event()
        seen: list[int] = []

        @command(PLACE, retry=())
        async def hang() -> None:
            hung.set()
            await asyncio.Event().wait()

        @command(PLACE)
        async def place(number: int) -> None:
            seen.append(number)

        await send(messaging, *(message(number, PLACE) for number in range(3)))
        async with handling(messaging.subscriber([PLACE]), hang) as handler:
            await asyncio.wait_for(hung.wait(), 20)
            async with asyncio.timeout(0.1 + SLACK):
                await handler.stop(0.1)
        async with handling(messaging.subscriber([PLACE]), place):
            await messaging.until(lambda: len(seen) >= 3)
        assert sorted(seen) == [0, 1, 2]

    @needs("durable", "redelivery")
    async def test_what_a_dead_process_held_is_delivered_again(self, messaging: Messaging) -> None:
        """S03. Waiting in memory and being handled."""
        seen: list[int] = []

        @command(PLACE)
        async def place(number: int) -> None:
            seen.append(number)

        await send(messaging, *(message(number, PLACE) for number in range(6)))
        dead = messaging.subscriber([PLACE])
        dead.intake.concurrency = 4
        await dead.setup()
        async with asyncio.timeout(20):
            held = [await dead.intake.take() for _ in range(4)]
        await messaging.vanish(dead)
        async with handling(messaging.subscriber([PLACE]), place):
            await messaging.advance(messaging.ack_wait)
            await messaging.until(lambda: set(seen) == set(range(6)))
        assert len({delivery.sequence for _, delivery in held}) == 4
        await dead.destroy()

    @needs("groups")
    async def test_what_is_sent_after_a_process_died_reaches_the_living_at_once(self, messaging: Messaging) -> None:
        """S03."""
        dead = messaging.subscriber([PLACE])
        dead.intake.concurrency = 4
        await dead.setup()
        await messaging.advance(STEP)
        await messaging.vanish(dead)
        async with messaging.subscriber([PLACE]) as living:
            await send(messaging, message(1, PLACE), message(2, PLACE))
            assert sorted(await contents(living, 2)) == [1, 2]
        await dead.destroy()

    @needs("durable", "redelivery")
    async def test_redelivery_says_that_it_is_one(self, messaging: Messaging) -> None:
        await send(messaging, message(1, PLACE))
        dead = messaging.subscriber([PLACE])
        await dead.setup()
        async with asyncio.timeout(20):
            _, first = await dead.intake.take()
        await messaging.vanish(dead)
        async with messaging.subscriber([PLACE]) as living:
            await messaging.advance(messaging.ack_wait)
            again = await take(living)
        await dead.destroy()
        assert (first.delivered, again.delivered) == (1, 2)
        assert (first.stream, first.sequence, first.identifier) == (again.stream, again.sequence, again.identifier)
