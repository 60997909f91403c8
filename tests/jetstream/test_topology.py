"""Streams and durables are made, found and reconciled; what an operator set is left alone."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from callboard import Actor, command, event, query
from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.errors import TopologyError
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.jetstream.api import JetStreamApi
from tests.jetstream.eventually import eventually
from tests.jetstream.service import durable_of, service


@pytest.fixture
async def api(nats_server: EmbeddedServer) -> AsyncIterator[JetStreamApi]:
    """The raw JSON of streams and consumers, with the fields that nats-py does not know."""
    async with JetStreamTransport(ConnectionOptions((nats_server.url,))) as transport:
        yield transport._api


async def consumer_config(api: JetStreamApi, stream: str, durable: str) -> dict[str, Any]:
    config: dict[str, Any] = (await api.call(f"CONSUMER.INFO.{stream}.{durable}"))["config"]
    return config


async def write_consumer(api: JetStreamApi, stream: str, config: dict[str, Any], action: str) -> None:
    request = {"stream_name": stream, "config": config, "action": action}
    await api.call(f"CONSUMER.CREATE.{stream}.{config['durable_name']}", request)


class Orders(Actor):
    publishes = {"invoices.sent": int, "archive.{year}.closed": int}

    @command("orders.place")
    async def place(self, number: int) -> None: ...

    @event("orders.>")
    async def log(self) -> None: ...

    @query("stock.{item}.count")
    async def count(self, item: str) -> int:
        return 1


async def test_streams_hold_the_first_token_of_topics(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    async with service(nats_server, Orders):
        names = {info.config.name: info.config for info in await js.streams_info()}

    assert {"ORDERS", "STOCK", "INVOICES", "ARCHIVE"} < set(names)
    orders = names["ORDERS"]
    assert orders.subjects == ["orders", "orders.>"]
    assert (orders.max_age, orders.duplicate_window) == (7 * 24 * 3600, 300)


async def test_our_own_streams_are_made(nats_server: EmbeddedServer, api: JetStreamApi) -> None:
    async with service(nats_server, Orders):
        dead = (await api.call("STREAM.INFO.CALLBOARD_DEAD"))["config"]
        bucket = (await api.call("STREAM.INFO.KV_CALLBOARD"))["config"]

    assert dead["subjects"] == ["_callboard.dead.>"]
    assert dead.get("max_age", 0) == 0
    assert bucket["subjects"] == ["$KV.CALLBOARD.>"]
    assert bucket["max_msgs_per_subject"] == 1


async def test_second_start_changes_nothing(nats_server: EmbeddedServer, api: JetStreamApi) -> None:
    async def everything() -> list[Any]:
        consumers = [(await api.call(f"CONSUMER.LIST.{s}"))["consumers"] for s in ("ORDERS", "STOCK")]
        configs = [[(entry["name"], entry["created"], entry["config"]) for entry in page] for page in consumers]
        return [*configs, (await api.call("STREAM.INFO.ORDERS"))["config"]]

    async with service(nats_server, Orders):
        before = await everything()
    async with service(nats_server, Orders):
        assert await everything() == before


async def test_stream_of_an_operator_is_used_as_it_is(
    nats_server: EmbeddedServer, js: JetStreamContext, api: JetStreamApi
) -> None:
    seen: list[int] = []

    class Worker(Actor):
        @command("orders.place")
        async def place(self, number: int) -> int:
            seen.append(number)
            return number + 1

    await js.add_stream(name="everything", subjects=["orders.*", "bills.>"], max_msgs=1000, description="mine")
    before = (await api.call("STREAM.INFO.everything"))["config"]

    async with service(nats_server, Worker) as system:
        receipt = await system.board.publish("orders.place", 1)
        answer = await system.board.request("orders.place", 2)

    assert receipt.stream == "everything"
    assert (seen, answer) == ([1, 2], 3)
    assert (await api.call("STREAM.INFO.everything"))["config"] == before
    with pytest.raises(NotFoundError):
        await js.stream_info("ORDERS")


async def test_stream_that_holds_a_part_of_the_topic_is_refused_by_name(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    class Worker(Actor):
        @event("orders.*")
        async def log(self) -> None: ...

    await js.add_stream(name="partly", subjects=["orders.place"])

    with pytest.raises(TopologyError, match=r"'partly'.*'orders\.\*'"):
        await service(nats_server, Worker).start()


async def test_stream_name_with_other_subjects_is_refused_by_name(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await js.add_stream(name="ORDERS", subjects=["elsewhere.>"])

    with pytest.raises(TopologyError, match=r"'ORDERS'.*'orders\.place'"):
        await service(nats_server, Orders).start()

    assert (await js.stream_info("ORDERS")).config.subjects == ["elsewhere.>"]


async def test_stream_that_holds_a_neighbouring_topic_is_refused_by_name(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    class Worker(Actor):
        @command("orders.place")
        async def place(self) -> None: ...

    await js.add_stream(name="special", subjects=["orders.special.>"])

    with pytest.raises(TopologyError, match=r"'ORDERS'.*'orders\.place'"):
        await service(nats_server, Worker).start()


async def test_durable_keeps_what_the_operator_set(nats_server: EmbeddedServer, api: JetStreamApi) -> None:
    class Worker(Actor):
        @command("orders.place")
        async def place(self) -> None: ...

    class Changed(Actor):
        name = "Worker"

        @command("orders.place", ack_wait=7)
        async def place(self) -> None: ...

    durable = durable_of(Worker, "orders.place")
    async with service(nats_server, Worker):
        config = await consumer_config(api, "ORDERS", durable)
    assert config["ack_wait"] == 30_000_000_000
    set_by_hand = {
        "description": "watched by Ann",
        "sample_freq": "50",
        "inactive_threshold": 3600_000_000_000,
        "max_batch": 5000,
        "metadata": {**config["metadata"], "owner": "Ann"},
    }
    await write_consumer(api, "ORDERS", {**config, **set_by_hand}, "update")

    async with service(nats_server, Changed):
        after = await consumer_config(api, "ORDERS", durable)

    assert after["ack_wait"] == 7_000_000_000
    metadata = after.pop("metadata")
    assert {name: after[name] for name in set_by_hand if name != "metadata"} == {
        name: value for name, value in set_by_hand.items() if name != "metadata"
    }
    assert metadata["owner"] == "Ann"
    assert metadata["callboard.service"] == "test"


async def test_durable_that_acknowledges_otherwise_is_refused(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    durable = durable_of(Orders, "orders.place")
    await js.add_stream(name="ORDERS", subjects=["orders", "orders.>"])
    await js.add_consumer(
        "ORDERS", ConsumerConfig(durable_name=durable, ack_policy=AckPolicy.NONE, filter_subject="orders.place")
    )

    with pytest.raises(TopologyError, match=f"{durable}.*ack_policy='none'"):
        await service(nats_server, Orders).start()


@pytest.mark.parametrize("topic", ["orders.place", "orders.*", "orders.>"])
async def test_command_of_another_service_is_refused(nats_server: EmbeddedServer, topic: str) -> None:
    class Mine(Actor):
        @command("orders.place")
        async def place(self) -> None: ...

    class Yours(Actor):
        @command(topic)
        async def place(self) -> None: ...

    async with service(nats_server, Mine, name="mine"):
        with pytest.raises(TopologyError, match="belongs to the service 'mine', this one is 'yours'"):
            await service(nats_server, Yours, name="yours").start()


async def test_events_of_another_service_are_free(nats_server: EmbeddedServer) -> None:
    class Log(Actor):
        @event("orders.>")
        async def log(self) -> None: ...

    async with service(nats_server, Orders, name="mine"), service(nats_server, Log, name="yours"):
        pass


async def test_renamed_actor_goes_on_where_its_former_self_stopped(
    nats_server: EmbeddedServer, js: JetStreamContext, board: Board
) -> None:
    seen: list[tuple[str, int]] = []

    class Old(Actor):
        @event("orders.placed")
        async def log(self, number: int) -> None:
            seen.append(("old", number))

    class New(Actor):
        renamed_from = "Old"

        @event("orders.placed")
        async def log(self, number: int) -> None:
            seen.append(("new", number))

    async with service(nats_server, Old):
        for number in range(3):
            await board.publish("orders.placed", number)
        await eventually(lambda: len(seen) == 3)
    await board.publish("orders.placed", 3)

    async with service(nats_server, New):
        await eventually(lambda: len(seen) == 4)
        await board.publish("orders.placed", 4)
        await eventually(lambda: len(seen) == 5)

    assert seen[3:] == [("new", 3), ("new", 4)]
    consumers = [info.name for info in await js.consumers_info("ORDERS")]
    assert consumers == [durable_of(New, "orders.placed")]


async def test_new_mailbox_begins_at_the_first_message_unless_it_says_new(
    nats_server: EmbeddedServer, js: JetStreamContext, board: Board
) -> None:
    seen: list[tuple[str, int]] = []

    class Both(Actor):
        @event("orders.placed", start="new")
        async def late(self, number: int) -> None:
            seen.append(("new", number))

    class First(Actor):
        @event("orders.placed")
        async def early(self, number: int) -> None:
            seen.append(("first", number))

    await js.add_stream(name="ORDERS", subjects=["orders", "orders.>"])
    await board.publish("orders.placed", 1)

    async with service(nats_server, Both, First):
        await board.publish("orders.placed", 2)
        await eventually(lambda: len(seen) == 3)

    assert sorted(seen) == [("first", 1), ("first", 2), ("new", 2)]


async def test_new_mailbox_that_exists_misses_nothing_while_its_service_is_down(
    nats_server: EmbeddedServer, board: Board
) -> None:
    seen: list[int] = []

    class Late(Actor):
        @event("orders.placed", start="new")
        async def late(self, number: int) -> None:
            seen.append(number)

    async with service(nats_server, Late):
        pass
    await board.publish("orders.placed", 1)

    async with service(nats_server, Late):
        await eventually(lambda: seen == [1])


async def test_processes_that_start_at_once_agree(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    systems = [service(nats_server, Orders) for _ in range(6)]

    await asyncio.gather(*(system.start() for system in systems))
    try:
        assert len(await js.consumers_info("ORDERS")) == 2
    finally:
        await asyncio.gather(*(system.stop() for system in systems))
