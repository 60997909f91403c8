"""What handlers may rely on."""

# ruff: noqa: S101 - behaviours are tests

from __future__ import annotations

import asyncio
import threading

from callboard.errors import BrokerResponseException
from callboard.routing.decorator import command
from callboard.testing.conformance.conformance import Conformance
from callboard.testing.conformance.step import (
    ANSWERS,
    PLACE,
    answers,
    buried,
    handling,
    message,
    put,
    receive,
    send,
)
from callboard.testing.conformance.system import STEP, Messaging
from callboard.testing.features import needs

__all__ = ["HandlingConformance"]


class HandlingConformance(Conformance):
    """Behaviours of a `BrokerHandler`."""

    @needs("order")
    async def test_one_slot_handles_in_the_order_in_which_was_published(self, messaging: Messaging) -> None:
        """S05."""
        seen: list[dict[str, int]] = []

        @command(PLACE)
        async def place(content: dict[str, int]) -> None:
            await asyncio.sleep(0)
            seen.append(content)

        sent = [{"number": number} for number in range(8)]
        async with handling(messaging.subscriber([PLACE]), place):
            await send(messaging, *(message(content, PLACE) for content in sent))
            await messaging.until(lambda: len(seen) >= 8)
        assert seen == sent

    async def test_at_most_so_many_run_at_once_as_there_are_slots_and_all_finish(self, messaging: Messaging) -> None:
        """C38."""
        open_ = asyncio.Event()
        begun: list[int] = []
        finished: list[int] = []

        @command(PLACE)
        async def place(number: int) -> None:
            begun.append(number)
            await open_.wait()
            finished.append(number)

        async with handling(messaging.subscriber([PLACE]), place, concurrency=3):
            await send(messaging, *(message(number, PLACE) for number in range(9)))
            await messaging.until(lambda: len(begun) >= 3)
            await messaging.advance(5 * STEP)
            assert len(begun) == 3
            open_.set()
            await messaging.until(lambda: len(finished) >= 9)
        assert sorted(finished) == list(range(9))

    async def test_message_that_fails_stops_nothing(self, messaging: Messaging) -> None:
        """C39. C32."""
        seen: list[int] = []

        class Odd(BaseException):
            """What no handler should raise."""

        @command(PLACE, retry=())
        async def place(number: int) -> None:
            if number == 1:
                raise ValueError(number)
            if number == 2:
                raise Odd
            if number == 3:
                raise BrokerResponseException("no")
            seen.append(number)

        async with handling(messaging.subscriber([PLACE]), place):
            await send(messaging, *(message(number, PLACE) for number in range(5)))
            await messaging.until(lambda: len(seen) >= 2)
            await messaging.until(lambda: buried(messaging, 2))
        assert sorted(seen) == [0, 4]

    async def test_handler_that_raises_cancelled_error_costs_no_slot(self, messaging: Messaging) -> None:
        """S06."""
        together = asyncio.Event()
        running: list[int] = []

        @command(PLACE, retry=())
        async def place(number: int) -> None:
            if number < 10:
                raise asyncio.CancelledError
            running.append(number)
            await together.wait()

        async with handling(messaging.subscriber([PLACE]), place, concurrency=2):
            await send(messaging, *(message(number, PLACE) for number in range(12)))
            await messaging.until(lambda: len(running) == 2)
            together.set()
        assert sorted(running) == [10, 11]

    async def test_unreadable_message_is_a_dead_letter_between_good_ones(self, messaging: Messaging) -> None:
        """S02."""
        seen: list[int] = []

        @command(PLACE)
        async def place(number: int) -> None:
            seen.append(number)

        await send(messaging, message(1, PLACE))
        await put(messaging, PLACE, b"{no json")
        await send(messaging, message(2, PLACE))
        async with handling(messaging.subscriber([PLACE]), place):
            await messaging.until(lambda: len(seen) >= 2)
            await messaging.until(lambda: buried(messaging, 1))
        [letter] = await messaging.dead_letters()
        assert sorted(seen) == [1, 2]
        assert letter.body == b"{no json"
        assert letter.headers["Callboard-Dead-Error-Type"] == "ContentDecodeError"
        assert letter.headers["Callboard-Dead-Topic"] == PLACE

    @needs("delayed_redelivery")
    async def test_failed_message_is_tried_as_often_as_declared_and_then_a_dead_letter(
        self, messaging: Messaging
    ) -> None:
        """S14."""
        tries: list[int] = []

        @command(PLACE, retry=(0, 0.05))
        async def place(number: int) -> None:
            tries.append(number)
            raise ValueError(number)

        async with answers(messaging) as answered, handling(messaging.subscriber([PLACE]), place):
            await send(messaging, message(7, PLACE, reply_topic=ANSWERS))
            await messaging.until(lambda: buried(messaging, 1))
            [answer] = await receive(answered, 1)
        [letter] = await messaging.dead_letters()
        assert len(tries) == 3
        assert letter.headers["Callboard-Dead-Attempts"] == "3"
        assert letter.headers["Callboard-Dead-Error-Type"] == "ValueError"
        assert (answer.status, answer.content["error"]["type"]) == (500, "ValueError")

    @needs("delayed_redelivery")
    async def test_retry_comes_not_before_its_delay_and_nothing_waits_for_it(self, messaging: Messaging) -> None:
        """S14."""
        seen: list[int] = []

        @command(PLACE, retry=(2.0,))
        async def place(number: int) -> None:
            seen.append(number)
            if seen.count(number) == 1 and number == 1:
                raise ValueError(number)

        async with handling(messaging.subscriber([PLACE]), place):
            await send(messaging, message(1, PLACE))
            await messaging.until(lambda: seen == [1])
            await send(messaging, message(2, PLACE))
            await messaging.until(lambda: seen == [1, 2])
            await messaging.until(lambda: len(seen) == 3)
        assert seen == [1, 2, 1]

    async def test_sync_handler_that_blocks_stops_no_other(self, messaging: Messaging) -> None:
        """S15. C33."""
        release = threading.Event()
        seen: list[str] = []

        @command("orders.block")
        def block() -> None:
            release.wait(5)
            seen.append("block")

        @command(PLACE)
        async def place() -> None:
            seen.append("place")

        async with handling(messaging.subscriber(["orders.*"]), block, place, concurrency=2):
            await send(messaging, message(None, "orders.block"), message(None, PLACE))
            try:
                await messaging.until(lambda: seen == ["place"])
            finally:
                release.set()
            await messaging.until(lambda: seen == ["place", "block"])
