"""One comparison for a start, a plan and an apply: each difference by its field, and what each mode does about it."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from callboard import Actor, command, event
from callboard.brokers.transport import Topology
from callboard.client import Board
from callboard.config import Config, Manage
from callboard.embedded import EmbeddedServer
from callboard.errors import TopologyError
from callboard.jetstream.difference import Difference, Remedy
from callboard.jetstream.topology import TopologyManager, topology_of
from callboard.supervision import Supervisor
from callboard.system import System
from tests.jetstream.service import durable_of, service


class Orders(Actor):
    publishes = {"bills.sent": int}

    @command("orders.place", ack_wait=20)
    async def place(self) -> None: ...

    @event("orders.placed")
    async def log(self) -> None: ...


PLACE, LOG = durable_of(Orders, "orders.place"), durable_of(Orders, "orders.placed")
OURS = ["KV_CALLBOARD", "CALLBOARD_DEAD"]


def topology(*actors: Any) -> Topology:
    """What a system of these actors needs; nobody is connected."""
    return System(Supervisor(actors or [Orders]), name="test", nats="nats://nobody:1").topology


@asynccontextmanager
async def manager_at(server: EmbeddedServer, **streams: Any) -> AsyncGenerator[TopologyManager]:
    async with topology_of(Config(nats=server.url, streams=streams)) as manager:
        yield manager


async def planned(server: EmbeddedServer, *actors: Any, **streams: Any) -> list[Difference]:
    async with manager_at(server, **streams) as manager:
        return await manager.plan(topology(*actors))


async def start(server: EmbeddedServer, *actors: Any, **streams: Any) -> None:
    """Start a service, and stop it."""
    config = Config(nats=server.url, streams=streams)
    async with System(Supervisor(actors or [Orders]), name="test", config=config):
        pass


def fields(found: Sequence[Difference]) -> list[tuple[Any, ...]]:
    return [(it.name, it.field, it.server, it.code, it.remedy) for it in found]


async def test_everything_is_missing_on_a_new_server_and_a_plan_makes_nothing(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    found = await planned(nats_server)

    assert [it.name for it in found] == [*OURS, "BILLS", "ORDERS", PLACE, LOG]
    assert {it.remedy for it in found} == {Remedy.CREATE}
    assert await js.streams_info() == []


async def test_nothing_differs_where_a_service_runs(nats_server: EmbeddedServer) -> None:
    async with service(nats_server, Orders):
        assert await planned(nats_server) == []


async def test_apply_makes_what_a_start_would(nats_server: EmbeddedServer) -> None:
    async with manager_at(nats_server) as manager:
        outcomes = await manager.apply(topology())
        assert all(outcome.done for outcome in outcomes)
        assert len(outcomes) == 6
        assert await manager.plan(topology()) == []
        assert await manager.apply(topology()) == []


async def test_fields_that_the_configuration_names_are_written(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await start(nats_server)
    await js.update_stream((await js.stream_info("ORDERS")).config, max_msgs=1000)

    found = await planned(nats_server, max_age=86400.0, duplicate_window=60.0)
    assert fields(found) == [
        (stream, *values, Remedy.CHANGE)
        for stream in ("BILLS", "ORDERS")
        for values in (("max_age", 7 * 86400.0, 86400.0), ("duplicate_window", 300.0, 60.0))
    ]
    assert str(found[2]) == "stream 'ORDERS' exists with max_age=604800.0, the code says 86400.0"
    await start(nats_server, max_age=86400.0, duplicate_window=60.0)

    config = (await js.stream_info("ORDERS")).config
    assert (config.max_age, config.duplicate_window, config.max_msgs) == (86400, 60, 1000)
    assert config.subjects == ["orders", "orders.>"]


async def test_what_the_configuration_does_not_name_is_the_operators(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await start(nats_server)
    await js.update_stream((await js.stream_info("ORDERS")).config, max_age=3600)

    assert await planned(nats_server) == []
    await start(nats_server)
    assert (await js.stream_info("ORDERS")).config.max_age == 3600


async def test_duplicate_window_is_never_longer_than_messages_are_kept(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await start(nats_server)

    await start(nats_server, max_age=100.0)

    config = (await js.stream_info("ORDERS")).config
    assert (config.max_age, config.duplicate_window) == (100, 100)
    await js.delete_stream("BILLS")
    async with manager_at(nats_server, max_age=100.0) as manager:
        assert [o.done for o in await manager.apply(topology(), recreate=["BILLS"])] == [True]


async def test_stream_of_an_operator_keeps_fields_that_the_configuration_names(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await js.add_stream(name="everything", subjects=["orders.>", "bills.>"], max_age=3600)

    await start(nats_server, max_age=86400.0)

    assert (await js.stream_info("everything")).config.max_age == 3600


async def test_mapped_stream_takes_in_a_topic_that_is_mapped_later(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await start(nats_server, topics={"orders": "SHOP"})

    found = await planned(nats_server, topics={"orders": "SHOP", "stock": "SHOP"})
    assert found == []

    class Stock(Actor):
        @event("stock.sold")
        async def log(self) -> None: ...

    await start(nats_server, Orders, Stock, topics={"orders": "SHOP", "stock": "SHOP"}, max_age=86400.0)
    config = (await js.stream_info("SHOP")).config
    assert config.subjects == ["orders", "orders.>", "stock", "stock.>"]
    assert config.max_age == 86400


async def test_mapped_stream_that_holds_single_topics_is_widened(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await js.add_stream(name="SHOP", subjects=["bills.>", "orders.lost", "orders.found.*"])
    await js.publish("orders.lost", b"1")

    await start(nats_server, topics={"orders": "SHOP"})

    info = await js.stream_info("SHOP")
    assert (info.config.subjects, info.state.messages) == (["bills.>", "orders", "orders.>"], 1)


async def test_durable_is_compared_field_by_field(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    await start(nats_server)
    config = (await js.consumer_info("ORDERS", PLACE)).config
    config.ack_wait, config.max_deliver, config.description = 5, 3, "watched by Ann"
    await js.add_consumer("ORDERS", config)

    found = await planned(nats_server)

    assert fields(found) == [
        (PLACE, "ack_wait", 5.0, 20.0, Remedy.CHANGE),
        (PLACE, "max_deliver", 3, -1, Remedy.CHANGE),
    ]
    await start(nats_server)
    after = (await js.consumer_info("ORDERS", PLACE)).config
    assert (after.ack_wait, after.max_deliver, after.description) == (20, -1, "watched by Ann")


async def test_what_cannot_be_changed_is_refused_and_the_rest_is_applied(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders", "orders.>"])
    await js.add_consumer(
        "ORDERS", ConsumerConfig(durable_name=PLACE, ack_policy=AckPolicy.NONE, filter_subject="orders.place")
    )
    before = await js.consumer_info("ORDERS", PLACE)

    async with manager_at(nats_server) as manager:
        outcomes = await manager.apply(topology())

    refused = {outcome.difference.name for outcome in outcomes if not outcome.done}
    assert refused == {PLACE}
    assert "ack_policy='none', the code says 'explicit'" in " ".join(outcome.reason for outcome in outcomes)
    assert (await js.consumer_info("ORDERS", PLACE)).config == before.config
    assert (await js.consumer_info("ORDERS", LOG)).name == LOG


async def test_what_the_server_refuses_is_an_outcome(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    await start(nats_server)

    async with manager_at(nats_server, replicas=3) as manager:
        outcomes = await manager.apply(topology())

    assert {(o.difference.name, o.difference.field) for o in outcomes} == {
        (name, "num_replicas") for name in (*OURS, "BILLS", "ORDERS")
    }
    assert all("non-clustered" in outcome.reason for outcome in outcomes)
    with pytest.raises(TopologyError, match=r"'KV_CALLBOARD': .*num_replicas=1, the code says 3.*non-clustered"):
        await start(nats_server, replicas=3)


async def test_durable_is_made_in_a_stream_whose_change_the_server_refuses(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await start(nats_server)
    await js.delete_consumer("ORDERS", PLACE)

    async with manager_at(nats_server, replicas=3) as manager:
        outcomes = await manager.apply(topology())

    assert {outcome.difference.name for outcome in outcomes if outcome.done} == {PLACE}
    assert (await js.consumer_info("ORDERS", PLACE)).name == PLACE


async def test_start_that_is_refused_writes_nothing_and_names_everything(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await js.add_stream(name="partly", subjects=["orders.place"])
    await js.add_stream(name="BILLS", subjects=["elsewhere"])

    with pytest.raises(TopologyError, match="'BILLS'.*'bills.sent'.*'ORDERS'.*'orders.placed'.*'partly'"):
        await start(nats_server)

    assert {info.config.name for info in await js.streams_info()} == {"partly", "BILLS"}


# Durables that nothing declares


class Log(Actor):
    name = "Orders"

    @event("orders.placed")
    async def log(self) -> None: ...


async def test_durable_that_nothing_declares_is_shown_and_kept(
    nats_server: EmbeddedServer, js: JetStreamContext, board: Board
) -> None:
    await start(nats_server)
    for _ in range(3):
        await board.publish("orders.place")

    (found,) = await planned(nats_server, Log)

    assert (found.name, found.stream, found.remedy) == (PLACE, "ORDERS", Remedy.PRUNE)
    assert found.note == "3 messages wait in it"
    await start(nats_server, Log)
    async with manager_at(nats_server) as manager:
        (kept,) = await manager.apply(topology(Log))
    assert not kept.done
    assert (await js.consumer_info("ORDERS", PLACE)).num_pending == 3


async def test_durable_that_nothing_declares_is_deleted_when_somebody_says_so(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await start(nats_server)

    async with manager_at(nats_server) as manager:
        (pruned,) = await manager.apply(topology(Log), prune=True)
        assert pruned.done
        assert await manager.plan(topology(Log)) == []
    assert [info.name for info in await js.consumers_info("ORDERS")] == [LOG]


async def test_durables_of_other_services_and_of_groups_are_nobodys_left_overs(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    async with service(nats_server, Orders, name="other"):
        pass
    await js.add_consumer("ORDERS", ConsumerConfig(durable_name="by-hand", ack_policy=AckPolicy.EXPLICIT))

    assert {it.name for it in await planned(nats_server, Log)} == {LOG}


# Modes


async def test_verify_refuses_with_all_differences_and_writes_nothing(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    await start(nats_server)
    config = (await js.consumer_info("ORDERS", PLACE)).config
    config.ack_wait = 5
    await js.add_consumer("ORDERS", config)

    with pytest.raises(TopologyError) as raised:
        await start(nats_server, manage="verify", max_age=86400.0)

    text = str(raised.value)
    assert "stream 'ORDERS' exists with max_age=604800.0, the code says 86400.0" in text
    assert f"durable {PLACE!r} exists with ack_wait=5.0, the code says 20.0" in text
    assert "'streams.manage' is 'verify'" in text
    assert text.endswith("run 'callboard topology plan'")
    assert (await js.consumer_info("ORDERS", PLACE)).config.ack_wait == 5


@pytest.mark.parametrize("manage", [Manage.VERIFY, Manage.OFF])
async def test_what_is_missing_is_refused_where_nothing_may_be_made(
    nats_server: EmbeddedServer, js: JetStreamContext, manage: Manage
) -> None:
    with pytest.raises(TopologyError, match=f"'ORDERS' is missing.*{PLACE}.*is missing.*{manage.value}"):
        await start(nats_server, manage=manage.value)

    assert await js.streams_info() == []


@pytest.mark.parametrize("manage", [Manage.VERIFY, Manage.OFF])
async def test_service_runs_on_what_apply_has_made(nats_server: EmbeddedServer, manage: Manage) -> None:
    async with manager_at(nats_server, manage=manage.value) as manager:
        await manager.apply(topology())

    await start(nats_server, manage=manage.value)


async def test_off_reports_once_what_differs_and_goes_on(
    nats_server: EmbeddedServer, js: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    await start(nats_server)
    config = (await js.consumer_info("ORDERS", PLACE)).config
    config.ack_wait = 5
    await js.add_consumer("ORDERS", config)
    caplog.set_level(logging.WARNING, "callboard.topology")

    await start(nats_server, manage="off", max_age=86400.0)

    (record,) = (record for record in caplog.records if record.name == "callboard.topology")
    assert "ack_wait=5.0" in record.getMessage()
    assert "max_age=604800.0" in record.getMessage()
    assert (await js.consumer_info("ORDERS", PLACE)).config.ack_wait == 5
    assert (await js.stream_info("ORDERS")).config.max_age == 7 * 86400


async def test_processes_that_find_a_lost_durable_at_once_agree(
    nats_server: EmbeddedServer, js: JetStreamContext, board: Board
) -> None:
    await start(nats_server)
    await js.delete_consumer("ORDERS", PLACE)

    async def prepare() -> int:
        async with manager_at(nats_server) as manager:
            await manager.prepare(topology().mailboxes, ())
            return (await manager.locate(topology().mailboxes[0])).seen_before

    async def publish() -> None:
        for _ in range(20):
            await board.publish("orders.place")

    _, *seen = await asyncio.gather(publish(), *(prepare() for _ in range(6)))
    assert len(set(seen)) == 1
