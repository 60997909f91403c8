"""Handlers and ports that are built from a configuration."""

from __future__ import annotations

import pytest

from callboard import (
    BrokerClient,
    BrokerDispatcher,
    BrokerHandler,
    BrokerMessageV1,
    BrokerMessageV1Payload,
    BrokerPort,
    BrokerRequest,
    BrokerResponse,
    BrokerSubscriberBuilder,
    Config,
    ConfigError,
    FilteredBrokerSubscriber,
    InMemoryBrokerSubscriberDuplicateValidator,
    InMemoryBrokerSubscriberQueue,
    NotProvidedError,
    QueuedBrokerSubscriber,
    enroute,
)
from callboard.embedded import EmbeddedServer
from tests.jetstream.eventually import eventually

HEARD: list[str] = []


class Users:
    @enroute.broker.command("user.create")
    async def create(self, request: BrokerRequest) -> BrokerResponse:
        return BrokerResponse({"id": "123", "name": (await request.content())["name"]}, status=201)

    @enroute.broker.event("user.created")
    async def hear(self, name: str) -> None:
        HEARD.append(f"users {name}")


class Mail:
    @enroute.broker.event("user.created")
    async def welcome(self, name: str) -> None:
        HEARD.append(f"mail {name}")


@enroute.broker.query("user.{name}.state")
def state(name: str) -> str:
    return f"{name} is fine"


class NeedsDesk:
    def __init__(self, desk: object) -> None: ...

    @enroute.broker.event("user.created")
    async def hear(self, name: str) -> None: ...


SERVICES = [f"{__name__}:{name}" for name in ("Users", "Mail", "state")]


@pytest.fixture(params=["memory", "jetstream"])
def config(request: pytest.FixtureRequest) -> Config:
    """A configuration of three services."""
    HEARD.clear()
    if request.param == "memory":
        return Config(name="users", services=SERVICES, transport="callboard.brokers.memory:InMemoryTransport")
    server: EmbeddedServer = request.getfixturevalue("nats_server")
    return Config(name="users", services=SERVICES, nats=server.url)


def message(topic: str, content: object) -> BrokerMessageV1:
    return BrokerMessageV1(topic, BrokerMessageV1Payload(content))


async def test_subscriber_has_exactly_the_topics_of_the_dispatcher(config: Config) -> None:
    """C42."""
    handler = BrokerHandler.from_config(config)
    async with handler:
        assert handler.subscriber.topics == {"user.create", "user.created", "user.*.state"}
        assert set(handler.dispatcher.actions) == {"user.create", "user.created", "user.{name}.state"}


async def test_port_runs_the_services_of_the_configuration(config: Config) -> None:
    """C41, C44."""
    async with BrokerPort.from_config(config), BrokerClient.from_config(config) as client:
        assert await client.request(message("user.create", {"name": "Joan"})) == {"id": "123", "name": "Joan"}
        assert await client.request(message("user.joan.state", None), returns=str) == "joan is fine"
        await client.publish(message("user.created", "joan"))
        await eventually(lambda: len(HEARD) == 2)
        assert sorted(HEARD) == ["mail joan", "users joan"]


async def test_builder_s_queue_and_validator_are_used(config: Config) -> None:
    """S17."""
    builder = (
        BrokerSubscriberBuilder()
        .with_queue(InMemoryBrokerSubscriberQueue)
        .with_validator(InMemoryBrokerSubscriberDuplicateValidator)
    )
    handler = BrokerHandler.from_config(config, subscriber_builder=builder)
    assert isinstance(handler.subscriber, QueuedBrokerSubscriber)
    assert isinstance(handler.subscriber.subscriber, FilteredBrokerSubscriber)
    async with handler, BrokerClient.from_config(config) as client:
        assert await client.request(message("user.create", {"name": "Joan"})) == {"id": "123", "name": "Joan"}


async def test_dispatcher_of_the_configuration_answers_through_its_publisher(config: Config) -> None:
    dispatcher = BrokerDispatcher.from_config(config)
    async with BrokerClient.from_config(config) as client:
        asked = message("user.create", {"name": "Joan"})
        asked.set_reply_topic(client.topic)
        await dispatcher.dispatch(asked)
        assert (await client.receive(timeout=10)).status == 201
    if dispatcher.publisher is not None:
        await dispatcher.publisher.destroy()


@pytest.mark.parametrize(
    ("services", "error", "text"),
    [
        ([], NotProvidedError, "'services'"),
        (["no.such.module"], ConfigError, "no module named 'no' "),
        ([f"{__name__}:Nobody"], ConfigError, "has no 'Nobody'"),
        ([f"{__name__}:NeedsDesk"], ConfigError, "NeedsDesk cannot be made without arguments"),
        (["tests.jetstream.eventually"], ConfigError, "holds no class or function with handlers"),
    ],
)
def test_services_that_cannot_run_are_refused(services: list[str], error: type[Exception], text: str) -> None:
    """C48."""
    with pytest.raises(error, match=text):
        BrokerHandler.from_config(Config(services=services))
