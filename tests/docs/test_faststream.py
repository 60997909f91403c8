"""What the page for people from FastStream says of it is so; the page's own code runs with all pages'."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import nats
import pytest
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy as JetStreamAckPolicy
from nats.js.api import ConsumerConfig

from callboard import Actor, RemoteError, Supervisor, System, command
from callboard.embedded import EmbeddedServer
from tests.jetstream.eventually import eventually

PAGE = (Path(__file__).parents[2] / "docs" / "migrating" / "faststream.md").read_text()

Handler: TypeAlias = Callable[[dict[str, Any]], Awaitable[Any]]


@pytest.fixture
async def js(nats_server: EmbeddedServer) -> AsyncIterator[JetStreamContext]:
    """The server, as nats-py sees it."""
    client = await nats.connect(nats_server.url)
    yield client.jetstream()
    await client.close()


def listening(
    url: str, handler: Handler, stream: str = "ORDERS", subject: str = "orders.>", **options: Any
) -> NatsBroker:
    """A FastStream broker with one subscriber to `orders.place`, a pulling one unless said otherwise."""
    broker = NatsBroker(url, logger=None)
    options = {"pull_sub": PullSub(), **options}
    broker.subscriber("orders.place", stream=JStream(stream, subjects=[subject]), durable="durable", **options)(handler)
    return broker


class Orders(Actor):
    retry = ()
    publishes = {"orders.placed": dict}

    @command("orders.place")
    async def place(self, order: dict[str, int]) -> int:
        handled.append(order)
        return 10 // order["count"]


handled: list[dict[str, int]] = []


def test_page_names_the_version_that_runs_here() -> None:
    assert set(re.findall(r"\b0\.\d+\.\d+\b", PAGE)) == {version("faststream")}


@pytest.mark.parametrize(("policy", "again"), [(None, False), (AckPolicy.NACK_ON_ERROR, True)])
async def test_failing_message_is_gone_or_comes_again_at_once(
    policy: AckPolicy | None, again: bool, nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    runs = 0

    async def fail(order: dict[str, Any]) -> None:
        nonlocal runs
        runs += 1
        raise ValueError

    broker = listening(nats_server.url, fail, **({} if policy is None else {"ack_policy": policy}))
    async with broker:
        await broker.start()
        await broker.publish({}, "orders.place", stream="ORDERS")
        if again:
            await eventually(lambda: runs > 20)  # far more often than delays would allow
        else:

            async def settled() -> bool:
                floor = (await js.consumer_info("ORDERS", "durable")).ack_floor
                return floor is not None and floor.consumer_seq == 1

            await eventually(settled)
            assert runs == 1


async def test_message_is_delivered_again_while_it_is_handled(nats_server: EmbeddedServer) -> None:
    running: Counter[str] = Counter()
    both = asyncio.Event()

    async def slow(order: dict[str, Any]) -> None:
        running["now"] += 1
        if running["now"] == 2:
            both.set()
        await both.wait()

    broker = listening(nats_server.url, slow, max_workers=2, config=ConsumerConfig(ack_wait=1))
    async with broker:
        await broker.start()
        await broker.publish({}, "orders.place", stream="ORDERS")
        async with asyncio.timeout(20):
            await both.wait()


@pytest.mark.parametrize("topic", ["orders.place", "orders.nobody"])
async def test_caller_of_who_fails_and_of_nobody_waits_for_the_timeout(topic: str, nats_server: EmbeddedServer) -> None:
    async def fail(order: dict[str, Any]) -> None:
        raise ValueError

    broker = listening(nats_server.url, fail)
    async with broker:
        await broker.start()
        with pytest.raises(TimeoutError):
            await broker.request({}, topic, stream="ORDERS", timeout=0.5)


async def test_second_process_is_refused_on_a_push_durable(nats_server: EmbeddedServer) -> None:
    async def hear(order: dict[str, Any]) -> None: ...

    with pytest.warns(RuntimeWarning, match="can't be scaled"):
        first, second = (listening(nats_server.url, hear, pull_sub=False) for _ in range(2))
    async with first, second:
        await first.start()
        with pytest.raises(NatsError, match="already bound"):
            await second.start()


async def test_start_writes_the_streams_configuration_but_keeps_subjects(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    async def hear(order: dict[str, Any]) -> None: ...

    await js.add_stream(name="ORDERS", subjects=["orders.>", "more.>"], max_age=100)
    broker = listening(nats_server.url, hear)
    async with broker:
        await broker.start()
        config = (await js.stream_info("ORDERS")).config
    assert config.max_age == 0
    assert set(config.subjects or ()) == {"orders.>", "more.>"}


async def test_stream_of_single_topics_is_widened_and_faststream_goes_on(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    heard = asyncio.Event()

    async def hear(order: dict[str, Any]) -> None:
        heard.set()

    broker = listening(nats_server.url, hear, "EVENTS", "orders.place")
    async with broker:
        await broker.start()
        config = (await js.stream_info("EVENTS")).config
    config.subjects = ["orders.>"]
    await js.update_stream(config)
    async with (
        System(Supervisor([Orders]), name="shop", nats=nats_server.url) as system,
        listening(nats_server.url, hear, "EVENTS", "orders.place") as broker,
    ):
        await broker.start()
        assert await system.board.request("orders.place", {"count": 2}) == 5
        async with asyncio.timeout(10):
            await heard.wait()


async def test_only_requests_with_the_header_are_answered(nats_server: EmbeddedServer) -> None:
    handled.clear()
    async with (
        System(Supervisor([Orders]), name="shop", nats=nats_server.url) as system,
        NatsBroker(nats_server.url, logger=None) as broker,
    ):
        with pytest.raises(TimeoutError):
            await broker.request({"count": 5}, "orders.place", stream="ORDERS", timeout=1)
        with pytest.raises(RemoteError):
            await system.board.request("orders.place", {"count": 0})
    assert handled == [{"count": 5}, {"count": 0}]


@pytest.mark.parametrize(("content", "arrives"), [("hello", False), (b"no JSON", False), (b'{"count": 1}', True)])
async def test_texts_are_dead_letters_and_bytes_are_read_as_json(
    content: Any, arrives: bool, nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    handled.clear()
    async with System(Supervisor([Orders]), name="shop", nats=nats_server.url):
        async with NatsBroker(nats_server.url, logger=None) as broker:
            await broker.publish(content, "orders.place", stream="ORDERS")

        async def ended() -> bool:
            return bool(handled) or (await js.stream_info("CALLBOARD_DEAD")).state.messages > 0

        await eventually(ended, within=10)
    assert bool(handled) is arrives


async def test_work_queue_is_taken_over_once_its_durable_is_gone(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    handled.clear()
    await js.add_stream(name="ORDERS", subjects=["orders.>"], retention="workqueue")
    await js.add_consumer(
        "ORDERS",
        ConsumerConfig(durable_name="durable", filter_subject="orders.place", ack_policy=JetStreamAckPolicy.EXPLICIT),
    )
    await js.publish("orders.place", b'{"count": 1}')
    await js.delete_consumer("ORDERS", "durable")
    async with System(Supervisor([Orders]), name="shop", nats=nats_server.url):
        await eventually(lambda: bool(handled), within=10)
