"""What whoever borrows clients may rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from callboard import (
    REQUEST_REPLY_TOPIC_CONTEXT_VAR,
    Actor,
    BrokerMessageV1,
    BrokerMessageV1Payload,
    RequestTimeoutError,
    Supervisor,
    query,
)
from callboard.brokers.builder import BrokerPublisherBuilder, BrokerSubscriberBuilder
from callboard.brokers.memory import InMemoryBroker, InMemoryBrokerPublisher, InMemoryTransport
from callboard.brokers.publisher import TransportBrokerPublisher
from callboard.client.client import BrokerClient
from callboard.client.pool import BrokerClientPool
from callboard.config import Config
from callboard.errors import ClosedError, ConfigError, NotProvidedError, PoolExhaustedError
from callboard.system import System
from tests.contract.conftest import Connect

MakePool = Callable[[int], BrokerClientPool]


@pytest.fixture
async def make_pool(connect: Connect) -> AsyncGenerator[MakePool]:
    """Makes a pool on the message system of the test."""
    publisher = TransportBrokerPublisher(connect())
    pools: list[BrokerClientPool] = []

    def make(maxsize: int) -> BrokerClientPool:
        pools.append(BrokerClientPool({"config": Config(), "publisher": publisher}, maxsize))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.destroy()
    await publisher.destroy()


@asynccontextmanager
async def echo(connect: Connect) -> AsyncGenerator[None]:
    class Echo(Actor):
        @query("echo.back")
        async def back(self, word: str) -> str:
            return word

    async with System(Supervisor([Echo]), name="echo", transport=connect()):
        yield


async def test_reply_topic_variable_is_the_borrowed_client_s_and_comes_back(make_pool: MakePool) -> None:
    """C27."""
    pool = make_pool(3)
    token = REQUEST_REPLY_TOPIC_CONTEXT_VAR.set("outer.topic")
    try:
        async with pool.acquire() as one:
            assert REQUEST_REPLY_TOPIC_CONTEXT_VAR.get() == one.topic
            async with pool.acquire() as other:
                assert REQUEST_REPLY_TOPIC_CONTEXT_VAR.get() == other.topic != one.topic
            assert REQUEST_REPLY_TOPIC_CONTEXT_VAR.get() == one.topic
        assert REQUEST_REPLY_TOPIC_CONTEXT_VAR.get() == "outer.topic"
        with pytest.raises(ZeroDivisionError):
            async with pool.acquire():
                raise ZeroDivisionError
        assert REQUEST_REPLY_TOPIC_CONTEXT_VAR.get() == "outer.topic"
    finally:
        REQUEST_REPLY_TOPIC_CONTEXT_VAR.reset(token)


async def test_one_more_than_the_size_waits_until_somebody_gives_back(make_pool: MakePool) -> None:
    """S13."""
    pool = make_pool(2)
    async with pool.acquire():
        borrowed = pool.acquire()
        await borrowed.__aenter__()
        with pytest.raises(PoolExhaustedError, match="all 2 clients"):
            await pool.acquire(timeout=0.05).__aenter__()
        waiting = asyncio.create_task(pool.acquire().__aenter__())
        await asyncio.sleep(0)
        assert not waiting.done()
        await asyncio.create_task(borrowed.__aexit__(None, None, None))
        client = await waiting
        assert client.is_ready()


async def test_cancelled_wait_takes_no_client(make_pool: MakePool) -> None:
    pool = make_pool(1)
    async with pool.acquire():
        waiting = asyncio.create_task(pool.acquire().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
    async with pool.acquire(timeout=5) as client:
        assert client.is_ready()


async def test_borrowed_client_hears_its_own_reply_only(connect: Connect, make_pool: MakePool) -> None:
    pool = make_pool(2)

    async def ask(word: str) -> object:
        async with pool.acquire(timeout=20) as client:
            await client.send(BrokerMessageV1("echo.back", BrokerMessageV1Payload(word)))
            return (await client.receive(timeout=20)).content

    async with echo(connect):
        words = [str(number) for number in range(8)]
        assert await asyncio.gather(*map(ask, words)) == words


async def test_client_that_was_given_back_is_closed(make_pool: MakePool) -> None:
    pool = make_pool(1)
    async with pool.acquire() as client:
        pass
    with pytest.raises(ClosedError):
        await client.receive()
    await pool.destroy()
    with pytest.raises(ClosedError):
        await pool.acquire().__aenter__()


def test_pool_needs_a_configuration_and_room() -> None:
    """C26."""
    with pytest.raises(NotProvidedError, match="config"):
        BrokerClientPool({})
    with pytest.raises(ValueError, match="1 or more; not 0"):
        BrokerClientPool({"config": Config()}, maxsize=0)


def test_size_is_the_configured_one_unless_another_is_given() -> None:
    assert BrokerClientPool.from_config(Config()).maxsize == 5
    assert BrokerClientPool.from_config(Config(), maxsize=10).maxsize == 10


@pytest.mark.parametrize("part", ["publisher", "subscriber"])
def test_client_from_config_without_a_part_is_refused(part: str) -> None:
    """C26."""
    missing: dict[str, Any] = {part: None}
    with pytest.raises(NotProvidedError, match=part):
        BrokerClient.from_config(Config(), **missing)


async def test_client_s_requests_wait_as_long_as_is_configured() -> None:
    config = Config(transport="callboard.brokers.memory:InMemoryTransport", client={"timeout": 0.05})

    class Silent(Actor):
        @query("echo.never")
        async def never(self) -> None:
            await asyncio.Event().wait()

    transport = InMemoryTransport.from_config(config)
    async with (
        System(Supervisor([Silent]), name="echo", transport=transport, grace=0.05),
        BrokerClient.from_config(config) as client,
    ):
        with pytest.raises(RequestTimeoutError, match=r"0\.05 s"):
            await client.request(BrokerMessageV1("echo.never", BrokerMessageV1Payload()))


def test_client_without_a_topic_gets_one_of_its_own() -> None:
    """C26."""
    config = Config(transport="callboard.brokers.memory:InMemoryTransport")
    assert BrokerClient.from_config(config).topic != BrokerClient.from_config(config).topic


async def test_client_is_built_with_the_builders_that_it_is_given() -> None:
    """S17."""
    broker = InMemoryBroker()
    subscriber = BrokerSubscriberBuilder().with_group_id("readers").with_transport(InMemoryTransport(broker))
    publisher = BrokerPublisherBuilder().with_transport(InMemoryTransport(broker))
    client = BrokerClient.from_config(
        Config(), "orders.placed", publisher_builder=publisher, subscriber_builder=subscriber
    )
    async with client:
        await client.publish(BrokerMessageV1("orders.placed", BrokerMessageV1Payload(1)))
        assert (await client.receive()).content == 1
        assert [consumer.durable.rpartition("-")[0] for consumer in broker.consumers("orders")] == [
            "group-readers-orders"
        ]


def test_builder_without_a_topic_is_refused() -> None:
    with pytest.raises(ConfigError, match="inbox is not stored"):
        BrokerClient.from_config(
            Config(), publisher=InMemoryBrokerPublisher(), subscriber_builder=BrokerSubscriberBuilder()
        )
