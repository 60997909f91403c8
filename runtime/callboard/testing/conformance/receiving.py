"""What whoever receives message by message may rely on."""

# ruff: noqa: S101 - behaviours are tests

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress

import pytest

from callboard.errors import ClosedError, SubstrateError
from callboard.testing.conformance.conformance import Conformance
from callboard.testing.conformance.step import (
    TOPIC,
    buried,
    contents,
    message,
    put,
    receive,
    send,
)
from callboard.testing.conformance.system import STEP, Messaging
from callboard.testing.features import needs

__all__ = ["ReceivingConformance"]


class ReceivingConformance(Conformance):
    """Behaviours of a `BrokerSubscriber` whose messages are received one by one."""

    async def test_topics_are_a_set(self, messaging: Messaging) -> None:
        """C14."""
        subscriber = messaging.subscriber(["orders.placed", "news.today", "news.today"])
        assert subscriber.topics == {"orders.placed", "news.today"}
        await subscriber.destroy()

    @needs("order")
    async def test_iteration_brings_messages_in_order_and_stops_after_destroy(self, messaging: Messaging) -> None:
        """C15."""
        seen: list[int] = []
        async with messaging.subscriber([TOPIC]) as subscriber:
            await send(messaging, *(message(number) for number in range(5)))
            async for each in subscriber:
                seen.append(each.content)
                if len(seen) == 5:
                    await subscriber.destroy()
        assert seen == [0, 1, 2, 3, 4]
        assert [each async for each in subscriber] == []

    async def test_receive_waits_and_loses_nothing_when_it_is_cancelled(self, messaging: Messaging) -> None:
        """C16."""
        async with messaging.subscriber([TOPIC]) as subscriber:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(subscriber.receive(), STEP)
            await send(messaging, message(1), message(2))
            assert sorted(await contents(subscriber, 2)) == [1, 2]

    async def test_receive_that_is_cancelled_while_messages_arrive_loses_none_and_repeats_none(
        self, messaging: Messaging
    ) -> None:
        """C16."""
        seen: list[int] = []
        async with messaging.subscriber([TOPIC]) as subscriber, asyncio.timeout(20):
            sending = asyncio.create_task(send(messaging, *(message(number) for number in range(50))))
            while len(seen) < 50:
                receiving = asyncio.create_task(subscriber.receive())
                await asyncio.wait({receiving}, timeout=STEP / 20)
                receiving.cancel()
                with suppress(asyncio.CancelledError):
                    seen.append((await receiving).content)
            await sending
        assert sorted(seen) == list(range(50))

    async def test_receive_that_is_cancelled_during_its_setup_may_be_called_again(self, messaging: Messaging) -> None:
        """C16."""
        await send(messaging, message(1))
        subscriber = messaging.subscriber([TOPIC])
        for turns in range(40):
            receiving = asyncio.create_task(subscriber.receive())
            for _ in range(turns):
                await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait({receiving})
            if not receiving.cancelled():
                assert receiving.result().content == 1
                break
        else:
            assert await contents(subscriber, 1) == [1]
        await subscriber.destroy()

    async def test_who_waits_hears_of_the_end(self, messaging: Messaging) -> None:
        subscriber = messaging.subscriber([TOPIC])
        await subscriber.setup()
        waiting = asyncio.create_task(subscriber.receive())
        await messaging.advance(STEP)
        await subscriber.destroy()
        with pytest.raises(ClosedError):
            await waiting
        with pytest.raises(ClosedError):
            await subscriber.receive()

    async def test_setup_and_destroy_happen_once_however_often_they_are_called(self, messaging: Messaging) -> None:
        """C12."""
        subscriber = messaging.subscriber([TOPIC])
        await asyncio.gather(subscriber.setup(), subscriber.setup())
        await send(messaging, message(1))
        assert await contents(subscriber, 1) == [1]
        await asyncio.gather(subscriber.destroy(), subscriber.destroy())
        await subscriber.destroy()
        assert not subscriber.is_ready()

    # Settlement

    @needs("durable", "order")
    async def test_message_is_acknowledged_at_destroy_and_what_nobody_got_is_handed_back(
        self, messaging: Messaging
    ) -> None:
        await send(messaging, *(message(number) for number in range(4)))
        async with messaging.subscriber([TOPIC]) as first:
            assert await contents(first, 2) == [0, 1]
        async with messaging.subscriber([TOPIC]) as second:
            assert await contents(second, 2) == [2, 3]

    @needs("durable", "redelivery")
    async def test_message_is_acknowledged_when_the_next_one_is_asked_for(self, messaging: Messaging) -> None:
        """S03. What was asked about is done, what was received last comes again when its receiver died."""
        await send(messaging, *(message(number) for number in range(3)))
        first = messaging.subscriber([TOPIC])
        received = await contents(first, 2)
        async with messaging.subscriber([TOPIC]) as second:
            await messaging.vanish(first)
            await messaging.advance(messaging.ack_wait)
            again = await contents(second, 2)
        await first.destroy()
        assert sorted([received[0], *again]) == [0, 1, 2]
        assert received[1] in again

    @needs("groups", "redelivery")
    async def test_received_message_keeps_its_lease_however_long_its_receiver_takes(self, messaging: Messaging) -> None:
        async with messaging.subscriber([TOPIC]) as slow, messaging.subscriber([TOPIC]) as other:
            await send(messaging, message("slow"))
            assert await contents(slow, 1) == ["slow"]
            await messaging.advance(3 * messaging.ack_wait)
            await send(messaging, message("other"))
            assert await contents(other, 1) == ["other"]

    @needs("redelivery")
    async def test_redelivered_message_has_the_same_identifier_though_it_names_none(self, messaging: Messaging) -> None:
        await put(messaging, TOPIC, b'{"item": "tea"}')
        first = messaging.subscriber([TOPIC])
        [one] = await receive(first, 1)
        async with messaging.subscriber([TOPIC]) as second:
            await messaging.vanish(first)
            await messaging.advance(messaging.ack_wait)
            [again] = await receive(second, 1)
        await first.destroy()
        assert (again.identifier, again.content) == (one.identifier, {"item": "tea"})

    async def test_what_cannot_be_read_is_a_dead_letter_and_the_next_message_is_received(
        self, messaging: Messaging, caplog: pytest.LogCaptureFixture
    ) -> None:
        """S02."""
        await send(messaging, message("before"))
        await put(messaging, TOPIC, b"{no json")
        await put(messaging, TOPIC, b"1", {"Callboard-Status": "fine"})
        await send(messaging, message("after"))
        with caplog.at_level(logging.ERROR, "callboard"):
            async with messaging.subscriber([TOPIC]) as subscriber:
                assert sorted(await contents(subscriber, 2)) == ["after", "before"]
                await messaging.until(lambda: buried(messaging, 2))
        for letter in await messaging.dead_letters():
            assert letter.headers["Callboard-Dead-Error-Type"] == "ContentDecodeError"
        assert sorted(letter.body for letter in await messaging.dead_letters()) == [b"1", b"{no json"]
        assert len([record for record in caplog.records if "cannot be read" in record.getMessage()]) == 2

    async def test_message_that_names_a_module_imports_nothing(self, messaging: Messaging) -> None:
        """S16."""
        unused = "this"
        body = b'{"py/object": "this", "__class__": "this.s", "$type": "this"}'
        await put(
            messaging, TOPIC, body, {"Python-Module": unused, "Callboard-Type": unused, "Callboard-Module": unused}
        )
        async with messaging.subscriber([TOPIC]) as subscriber:
            [received] = await receive(subscriber, 1)
        assert received.content["py/object"] == unused
        assert received.content_as(dict[str, str])["$type"] == unused
        assert unused not in sys.modules

    # Outages

    async def test_receive_goes_on_after_an_outage(self, messaging: Messaging) -> None:
        """S01. What was received last before it may come again."""
        if (outage := messaging.outage()) is None:
            pytest.skip("nobody can interrupt this message system")
        async with messaging.subscriber([TOPIC]) as subscriber:
            await send(messaging, message(1))
            assert await contents(subscriber, 1) == [1]
            waiting = asyncio.create_task(subscriber.receive())
            async with outage:
                await asyncio.wait({waiting}, timeout=10 * STEP)
                assert not waiting.done()
            await send(messaging, message(2))
            received = (await waiting).content
            assert received == 2 or await contents(subscriber, 1) == [2]

    async def test_subscriber_whose_first_setup_meets_an_outage_works_after_it(self, messaging: Messaging) -> None:
        """S01."""
        await send(messaging, message(1))
        if (outage := messaging.outage()) is None:
            pytest.skip("nobody can interrupt this message system")
        subscriber = messaging.subscriber([TOPIC])
        async with outage:
            with suppress(SubstrateError):
                await asyncio.wait_for(subscriber.setup(), 100 * STEP)
        assert await contents(subscriber, 1) == [1]
        await subscriber.destroy()
