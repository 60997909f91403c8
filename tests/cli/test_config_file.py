"""`callboard run --config FILE`: what stands in the file takes effect."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import nats
import pytest
import yaml

from callboard.config import Config
from callboard.embedded import EmbeddedServer
from callboard.routing.option import HandlerOptions
from tests.cli.command import CommandLine
from tests.docs.page import blocks_of

pytestmark = pytest.mark.usefixtures("nats_binary")

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "configuration.md"

SHOP = """
from contextlib import asynccontextmanager
from pathlib import Path
from attrs import frozen
from callboard import Actor, BrokerResponse, command, query


class Menu:
    pass


@asynccontextmanager
async def open_menu():
    Path("menu.opened").touch()
    yield Menu()


async def counted(request, call_next):
    response = await call_next(request)
    return BrokerResponse({"counted": response.content})


@frozen
class Words:
    greeting: str = "Hello"
    name: str = "you"


class Till(Actor):
    failing = True

    def __init__(self, menu: Menu, settings: Words) -> None:
        self.settings = settings

    @query("shop.greet")
    async def greet(self) -> str:
        return f"{self.settings.greeting} {self.settings.name}"

    @command("till.fail")
    async def fail(self) -> None:
        raise KeyError("always")
"""

SETTINGS = """
callboard:
  name: corner
  nats: {servers: %(url)s, user: shop, password: kept-to-myself}
  streams: {max_age: 3600, topics: {shop: EVERYTHING, till: EVERYTHING}}
  services: [shop]
  supervision: {max_restarts: 2, period: 40}
  dependencies: {"shop:Menu": "shop:open_menu"}
  middleware: ["shop:counted"]
  actors:
    Till:
      failures: {KeyError: reject}
      settings: {greeting: Welcome, name: file}
"""


@pytest.fixture
def shop(callboard: CommandLine) -> CommandLine:
    """The command in a folder with a service that is configured."""
    (callboard.folder / "shop.py").write_text(SHOP)
    return callboard


async def test_all_that_the_file_says_takes_effect(shop: CommandLine) -> None:
    async with EmbeddedServer(
        port=0, extra_config='authorization { user: shop, password: "kept-to-myself" }'
    ) as server:
        (shop.folder / "config.yml").write_text(SETTINGS % {"url": server.url})
        address = server.url.replace("//", "//shop:kept-to-myself@")
        shop.environment["TILL_NAME"] = "environment"
        running = await shop.run("--config", "config.yml")
        await running.worker()

        greeting = await shop("request", "shop.greet", "--nats", address)
        failure = await shop("request", "till.fail", "--nats", address)
        client = await nats.connect(address, allow_reconnect=False)
        stream = await client.jetstream().stream_info("EVERYTHING")
        [dead] = [await client.jetstream().get_msg("CALLBOARD_DEAD", 1)]
        durables = [info.config.metadata for info in await client.jetstream().consumers_info("EVERYTHING")]
        await client.close()

    assert json.loads(greeting.out) == {"counted": "Welcome environment"}
    assert failure.code == 1
    assert dead.subject is not None
    assert stream.config.subjects == ["shop", "shop.>", "till", "till.>"]
    assert stream.config.max_age == 3600
    assert {(metadata or {}).get("callboard.service") for metadata in durables} == {"corner"}
    assert (shop.folder / "menu.opened").exists()
    assert "kept-to-myself" not in running.text


async def test_target_is_stronger_than_the_services_of_the_file(served: CommandLine) -> None:
    """Options of actors that run elsewhere are no mistake then."""
    text = "callboard: {services: [nowhere], actors: {Elsewhere: {concurrency: 2}, Orders: {concurrency: 2}}}"
    (served.folder / "config.yml").write_text(text)

    running = await served.run("svc", "--config", "config.yml")
    await running.worker()

    assert (await served("request", "orders.add", "[1, 2]")).out == "3\n"


async def test_configured_actors_may_run_without_any_server(callboard: CommandLine) -> None:
    text = "callboard: {services: [svc], transport: 'callboard.brokers.memory:InMemoryTransport'}"
    (callboard.folder / "config.yml").write_text(text)

    running = await callboard.run("--config", "config.yml")

    await running.worker()


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ("{}", "nothing to run; give a TARGET"),
        ("{service: [svc]}", "config.yml: unknown setting 'service'; did you mean 'services'?"),
        ("{services: [svc], workers: many}", "config.yml: 'workers' must be a whole number, not 'many'"),
        ("{services: [svc], actors: {Ordres: {}}}", "no actor of this name runs; did you mean 'Orders'?"),
        ("{services: [svc], actors: {Orders: {concurency: 3}}}", "did you mean 'concurrency'?"),
        ("{services: [svc], middleware: ['svc:nothing']}", "'middleware[0]': 'svc:nothing' cannot be imported"),
        ("{services: [svc], dependencies: {'no:X': 'no:y'}}", "'dependencies.no:X': 'no:X' cannot be imported"),
        ("{services: [svc], transport: 'no:X'}", "'transport': 'no:X' cannot be imported: no module named 'no'"),
    ],
)
async def test_file_that_cannot_work_is_one_line_and_nothing_starts(
    served: CommandLine, settings: str, rule: str
) -> None:
    """C48."""
    (served.folder / "config.yml").write_text(f"callboard: {settings}")

    result = await served("run", "--config", "config.yml")

    assert result.code == 2
    assert rule in result.err
    assert len(result.err.splitlines()) == 1


# The page of the documentation


@pytest.fixture
def documented(callboard: CommandLine) -> Path:
    """The page's complete file, with its service beside it."""
    for block in blocks_of(PAGE):
        if block.file is not None:
            (callboard.folder / block.file).write_text(block.text)
    return callboard.folder / "config.yml"


def keys_of(kind: Any) -> Iterator[str]:
    for attribute in attrs.fields(attrs.resolve_types(kind)):
        if not attribute.init:
            continue
        inner: Any = attribute.type
        yield attribute.name
        if attrs.has(inner):
            yield from (f"{attribute.name}.{key}" for key in keys_of(inner))


def has(settings: Any, key: str) -> bool:
    for part in key.split("."):
        if part not in settings:
            return False
        settings = settings[part]
    return True


def test_complete_file_of_the_page_has_every_key(documented: Path) -> None:
    settings = yaml.safe_load(documented.read_text())["callboard"]

    assert [key for key in keys_of(Config) if not has(settings, key)] == []
    assert set(settings["actors"]["Orders"]) == {*HandlerOptions.names(), "settings"}


def test_table_of_the_page_has_every_key_with_its_variable() -> None:
    table = PAGE.read_text().partition("## Key by key")[2]
    leaves = [key for key in keys_of(Config) if not any(other.startswith(f"{key}.") for other in keys_of(Config))]

    assert [key for key in leaves if f"`{key}`" not in table] == []
    for key in set(leaves) - {"streams.topics", "dependencies", "actors"}:
        assert f"`CALLBOARD_{key.upper().replace('.', '_')}`" in table


def test_complete_file_of_the_page_can_be_read(documented: Path) -> None:
    config = Config(documented)

    assert (config.name, config.services, config.streams.topics["kitchen"]) == ("shop", ("orders",), "SHOP")


async def test_complete_file_of_the_page_runs(
    documented: Path, callboard: CommandLine, nats_server: EmbeddedServer
) -> None:
    callboard.environment["NATS_URL"] = nats_server.url
    running = await callboard.run("--config", documented.name)
    await running.worker(2)

    asked = await callboard("request", "orders.price", '"soup"')

    assert asked.out == '"Welcome: soup is 4"\n'
