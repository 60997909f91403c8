"""Every name of the document that Callboard implements is there, and the table says where and what proves it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import callboard
from callboard import BrokerClient, Config, InMemoryBrokerPublisher, InMemoryBrokerSubscriber, enroute

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "reference" / "seed-map.md"

SEED: dict[str, tuple[str, ...]] = {
    "BrokerMessage": (
        "topic", "identifier", "should_reply", "reply_topic", "version", "content", "ok", "status", "headers",
        "set_reply_topic",
    ),
    "BrokerMessageV1": ("__init__", "topic", "identifier", "reply_topic", "strategy", "payload", "version"),
    "BrokerMessageV1Payload": ("__init__", "content", "status", "headers", "ok"),
    "BrokerMessageV1Status": ("SUCCESS", "ERROR", "SYSTEM_ERROR", "UNKNOWN"),
    "BrokerMessageV1Strategy": ("UNICAST", "MULTICAST"),
    "BrokerClient": (
        "__init__", "topic", "publisher", "subscriber", "_from_config", "send", "receive", "receive_many",
    ),
    "BrokerClientPool": ("__init__", "_from_config", "acquire"),
    "BrokerPublisher": ("_from_config", "send"),
    "BrokerPublisherBuilder": (
        "__init__", "with_queued_cls", "with_config", "with_queue", "with_kwargs", "build",
    ),
    "InMemoryBrokerPublisher": ("messages", "_send"),
    "QueuedBrokerPublisher": (),
    "DatabaseBrokerPublisherQueue": (),
    "InMemoryBrokerPublisherQueue": (),
    "BrokerSubscriber": ("__init__", "_from_config", "topics", "__aiter__", "__anext__", "receive"),
    "BrokerSubscriberBuilder": (
        "__init__", "with_filtered_cls", "with_queued_cls", "with_config", "with_validator", "with_queue",
        "with_group_id", "with_remove_topics_on_destroy", "with_topics", "build",
    ),
    "InMemoryBrokerSubscriber": (),
    "FilteredBrokerSubscriber": (),
    "QueuedBrokerSubscriber": (),
    "BrokerHandler": ("__init__", "_from_config", "run"),
    "BrokerPort": ("_from_config", "handler", "start", "stop", "_start", "_stop"),
    "BrokerHandlerService": (),
    "BrokerDispatcher": (
        "__init__", "_from_config", "publisher", "actions", "dispatch", "get_action", "get_callback",
    ),
    "BrokerRequest": ("__init__", "raw", "user", "headers", "has_content", "has_params", "_content", "content"),
    "BrokerResponse": (),
    "BrokerResponseException": (),
    "BrokerQueue": (),
    "DatabaseBrokerQueue": (),
    "InMemoryBrokerQueue": (),
    "BrokerSubscriberQueue": (),
    "BrokerSubscriberValidator": (),
    "BrokerSubscriberDuplicateValidator": (),
    "REQUEST_HEADERS_CONTEXT_VAR": (),
    "REQUEST_REPLY_TOPIC_CONTEXT_VAR": (),
    "Config": (),
    "EnrouteFactory": ("get_broker_command_query_event",),
    "enroute": ("broker.command", "broker.query", "broker.event"),
}  # fmt: skip
NAMES = [name for owner, members in SEED.items() for name in (owner, *(f"{owner}.{member}" for member in members))]

ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \| `([^`:]+)::(\w+)` \|", flags=re.MULTILINE)
ROWS = {row[1]: row for row in ROW.finditer(TABLE.read_text() if TABLE.is_file() else "")}


@pytest.mark.parametrize("name", NAMES)
def test_name_of_the_seed_is_there(name: str) -> None:
    owner, _, member = name.partition(".")
    assert owner in callboard.__all__
    value = getattr(callboard, owner)
    assert not member or has(value, member)


@pytest.mark.parametrize("name", NAMES)
def test_table_says_where_a_name_is_and_which_test_proves_it(name: str) -> None:
    row = ROWS[name]
    module = ROOT / "runtime" / f"{row[2].replace('.', '/')}.py"
    assert module.is_file(), row[2]
    test = ROOT / row[3]
    assert re.search(rf"^ *(async )?def {row[4]}\(", test.read_text(), flags=re.MULTILINE), row[4]


def test_table_names_nothing_else() -> None:
    assert set(ROWS) <= set(NAMES)


@enroute.broker.command("greeting.send")
async def greet(name: str) -> str:
    return f"Hello {name}"


@pytest.fixture
def config() -> Config:
    """A configuration of one service, in memory."""
    return Config(services=[f"{__name__}:greet"], transport="callboard.brokers.memory:InMemoryTransport")


@pytest.mark.parametrize("owner", [owner for owner, members in SEED.items() if "_from_config" in members])
async def test_older_name_of_from_config_builds_the_same(owner: str, config: Config) -> None:
    options = {"topics": ["greeting.sent"]} if owner == "BrokerSubscriber" else {}
    cls = getattr(callboard, owner)

    assert type(cls._from_config(config, **options)) is type(cls.from_config(config, **options))


async def test_client_has_the_publisher_and_the_subscriber_that_it_was_given() -> None:
    publisher = InMemoryBrokerPublisher()
    subscriber = InMemoryBrokerSubscriber(["greeting.sent"], publisher.broker)
    client = BrokerClient("greeting.sent", publisher, subscriber)

    assert client.publisher is publisher
    assert client.subscriber is subscriber


def has(value: Any, path: str) -> bool:
    """Whether a class has a member; also one that only its instances have."""
    first, _, rest = path.partition(".")
    if not hasattr(value, first):
        return inspect.isclass(value) and any(
            f"self.{first}" in inspect.getsource(base) or first in inspect.get_annotations(base)
            for base in value.__mro__[:-1]
        )
    return not rest or has(getattr(value, first), rest)
