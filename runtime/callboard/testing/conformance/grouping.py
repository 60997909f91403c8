"""Who gets which messages: groups, topics, and what their end leaves."""

# ruff: noqa: S101 - behaviours are tests

from __future__ import annotations

import asyncio

import pytest

from callboard.brokers.subscriber import BrokerSubscriber
from callboard.errors import ClosedError, TopologyError
from callboard.testing.conformance.conformance import Conformance
from callboard.testing.conformance.step import (
    TOPIC,
    contents,
    message,
    receive,
    send,
)
from callboard.testing.conformance.system import PATIENCE, STEP, Messaging
from callboard.testing.features import needs

__all__ = ["GroupingConformance"]


class GroupingConformance(Conformance):
    """Behaviours of several `BrokerSubscriber`s, and of one with several topics."""

    @needs("groups")
    async def test_subscribers_of_one_group_compete_and_each_group_gets_each_message(
        self, messaging: Messaging
    ) -> None:
        async with (
            messaging.subscriber([TOPIC], "kitchen") as one,
            messaging.subscriber([TOPIC], "kitchen") as two,
            messaging.subscriber([TOPIC], "bar") as other,
        ):
            await send(messaging, *(message(number) for number in range(30)))
            shared: list[int] = []
            both = [asyncio.create_task(_collect(each, shared)) for each in (one, two)]
            await messaging.until(lambda: len(shared) >= 30)
            assert sorted(await contents(other, 30)) == list(range(30))
            for task in both:
                task.cancel()
            await asyncio.wait(both)
        assert sorted(shared) == list(range(30))

    @needs("durable", "groups")
    async def test_group_that_comes_back_goes_on_where_it_was_and_a_new_one_begins_at_the_beginning(
        self, messaging: Messaging
    ) -> None:
        await send(messaging, message(1), message(2))
        async with messaging.subscriber([TOPIC], "kitchen") as subscriber:
            assert sorted(await contents(subscriber, 2)) == [1, 2]
        await send(messaging, message(3))
        async with messaging.subscriber([TOPIC], "kitchen") as subscriber:
            assert await contents(subscriber, 1) == [3]
        async with messaging.subscriber([TOPIC], "bar") as subscriber:
            assert sorted(await contents(subscriber, 3)) == [1, 2, 3]

    @needs("durable")
    async def test_group_whose_topics_change_goes_on_where_it_was(self, messaging: Messaging) -> None:
        await send(messaging, message(1, "orders.placed"), message(2, "orders.paid"))
        async with messaging.subscriber(["orders.placed", "orders.paid"]) as subscriber:
            assert sorted(await contents(subscriber, 2)) == [1, 2]
        await send(messaging, message(3, "orders.placed"), message(4, "orders.paid"), message(5, "orders.sent"))
        async with messaging.subscriber(["orders.placed", "orders.sent"]) as subscriber:
            assert sorted(await contents(subscriber, 2)) == [3, 5]

    @needs("wildcards")
    async def test_wildcards_stand_for_tokens(self, messaging: Messaging) -> None:
        async with (
            messaging.subscriber(["orders.*.paid"], "one") as one_token,
            messaging.subscriber(["orders.>"], "all") as all_tokens,
        ):
            await send(
                messaging,
                message(1, "orders.7.paid"),
                message(2, "orders.7.x.paid"),
                message(3, "orders.paid"),
                message(4, "orders.8.paid"),
            )
            assert sorted(await contents(one_token, 2)) == [1, 4]
            assert sorted(await contents(all_tokens, 4)) == [1, 2, 3, 4]

    async def test_one_subscriber_has_topics_of_several_streams(self, messaging: Messaging) -> None:
        topics = ["orders.placed", "orders.paid", "news.today", "users.created"]
        async with messaging.subscriber(topics) as subscriber:
            await send(messaging, *(message(topic, topic) for topic in [*topics, "orders.sent", "users.gone"]))
            received = await receive(subscriber, 4)
            await send(messaging, message("end", "news.today"))
            assert await contents(subscriber, 1) == ["end"]
        assert sorted((each.topic, each.content) for each in received) == sorted((topic, topic) for topic in topics)

    @needs("wildcards")
    async def test_topic_that_another_one_covers_brings_no_message_twice(self, messaging: Messaging) -> None:
        async with messaging.subscriber(["orders.placed", "orders.*"]) as subscriber:
            await send(messaging, message(1), message(2, "orders.paid"), message(3))
            assert sorted(await contents(subscriber, 3)) == [1, 2, 3]

    # Removal

    @needs("durable", "removal")
    async def test_removed_topics_begin_anew_and_their_messages_stay(self, messaging: Messaging) -> None:
        topics = [TOPIC, "news.today"]
        await send(messaging, message(1), message(2, "news.today"))
        async with messaging.subscriber(topics, remove_topics_on_destroy=True) as subscriber:
            assert sorted(await contents(subscriber, 2)) == [1, 2]
        async with messaging.subscriber(topics) as subscriber:
            assert sorted(await contents(subscriber, 2)) == [1, 2]

    @needs("groups", "removal")
    async def test_setup_that_is_given_up_removes_nothing(self, messaging: Messaging) -> None:
        async with messaging.subscriber([TOPIC]) as living:
            for tries in range(20):
                other = messaging.subscriber([TOPIC], remove_topics_on_destroy=True)
                setting_up = asyncio.create_task(other.setup())
                await asyncio.wait({setting_up}, timeout=tries * STEP / 10)
                setting_up.cancel()
                await asyncio.wait({setting_up})
                await messaging.vanish(other)
            await send(messaging, message(1))
            async with asyncio.timeout(PATIENCE):
                assert (await living.receive()).content == 1

    @needs("groups", "removal")
    async def test_who_still_subscribes_hears_that_the_durable_is_gone(self, messaging: Messaging) -> None:
        async with messaging.subscriber([TOPIC]) as subscriber:
            waiting = asyncio.create_task(subscriber.receive())
            await messaging.advance(STEP)
            async with messaging.subscriber([TOPIC], remove_topics_on_destroy=True):
                pass
            await messaging.until(waiting.done)
            with pytest.raises(TopologyError):
                await waiting
            with pytest.raises(TopologyError):
                await subscriber.receive()
        with pytest.raises(ClosedError):
            await subscriber.receive()


async def _collect(subscriber: BrokerSubscriber, into: list[int]) -> None:
    while True:
        into.append((await subscriber.receive()).content)
