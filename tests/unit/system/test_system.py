"""A system as a configuration describes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from attrs import frozen

from callboard import Actor, ActorCrash, Supervisor, command, query
from callboard.config import Config
from callboard.errors import ConfigError
from callboard.instrumentation import Instrumentation
from callboard.routing.pipeline import Handle
from callboard.routing.request import BrokerRequest, BrokerResponse
from callboard.system import System, connect
from tests.jetstream.eventually import eventually

IN_MEMORY = "callboard.brokers.memory:InMemoryTransport"


class Till:
    opened = 0


@frozen
class DeskSettings:
    city: str = "nowhere"


class Desk(Actor):
    def __init__(self, till: Till, settings: DeskSettings) -> None:
        self.till = till
        self.settings = settings

    @query("desk.city")
    async def city(self) -> str:
        return self.settings.city


@asynccontextmanager
async def open_till() -> AsyncGenerator[Till]:
    Till.opened += 1
    yield Till()


async def loud(request: BrokerRequest, call_next: Handle) -> BrokerResponse:
    response = await call_next(request)
    return BrokerResponse(f"{response.content}!")


async def test_system_runs_as_its_configuration_says() -> None:
    config = Config(
        transport=IN_MEMORY,
        dependencies={f"{__name__}:Till": f"{__name__}:open_till"},
        actors={"Desk": {"concurrency": 3, "settings": {"city": "Newark"}}},
        middleware=[f"{__name__}:loud"],
    )
    before = Till.opened

    async with System(Supervisor([Desk]), config=config), connect(config=config) as board:
        assert await board.request("desk.city") == "Newark!"

    assert Till.opened == before + 1


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"transport": "nowhere:Transport"}, "'transport': 'nowhere:Transport' cannot be imported"),
        ({"transport": f"{__name__}:Till"}, "is no subclass of BrokerTransport"),
        ({"transport": IN_MEMORY, "actors": {"Dsk": {}}}, "did you mean 'Desk'"),
        ({"transport": IN_MEMORY, "middleware": ["nowhere:loud"]}, "'middleware[0]'"),
        ({"transport": IN_MEMORY, "actors": {"Desk": {"settings": {"ctiy": 1}}}}, "did you mean 'city'"),
    ],
    ids=["transport", "class", "actor", "middleware", "settings"],
)
def test_configuration_that_cannot_work_is_refused_before_anything_is_started(
    settings: dict[str, object], rule: str
) -> None:
    """C48."""
    with pytest.raises(ConfigError) as raised:
        System(Supervisor([Desk], provide={Till: open_till}), config=Config(**settings))

    assert rule in str(raised.value)


async def test_actors_states_and_restarts_stand_in_the_numbers_of_the_instrumentation() -> None:
    crashes = [ActorCrash("broken")]

    class Fragile(Actor):
        @command("fragile.break")
        async def crash(self) -> None:
            if crashes:
                raise crashes.pop()

    instrumentation = Instrumentation()
    statistics = instrumentation.statistics
    config = Config(transport=IN_MEMORY)
    async with System(Supervisor([Fragile]), config=config, instrumentation=instrumentation) as system:
        assert statistics.states()["Fragile", "running"] == 1
        assert statistics.states()["Fragile", "parked"] == 0

        await system.board.publish("fragile.break")
        await eventually(lambda: statistics.restarts["Fragile"] == 1)
        await eventually(lambda: statistics.states()["Fragile", "running"] == 1)

    assert statistics.states()["Fragile", "stopped"] == 1
    assert ("publish", "", "") in statistics.sent
