"""What a service needs follows from its declarations and its configuration."""

from __future__ import annotations

from typing import Any

import pytest

from callboard import Actor, Supervisor, System, command, event
from callboard.brokers.memory import InMemoryTransport
from callboard.config import Config
from callboard.jetstream.permission import Operation, Permission, permissions_of


class Orders(Actor):
    publishes = {"orders.{code}.placed": int, "bills.sent": int}

    @command("orders.place")
    async def place(self, number: int) -> None: ...


class Kitchen(Actor):
    renamed_from = "Cook"

    @event("orders.{code}.placed")
    async def cook(self, code: str, number: int) -> None: ...


def permissions(**settings: Any) -> list[Permission]:
    config = Config(**settings)
    system = System(Supervisor([Orders, Kitchen]), name="shop", config=config, transport=InMemoryTransport())
    return permissions_of(system.topology, config)


def subjects(found: list[Permission], operation: Operation = Operation.PUBLISH) -> set[str]:
    return {subject for each in found if each.operation is operation for subject in each.subjects}


@pytest.mark.parametrize(
    ("settings", "there", "not_there"),
    [
        ({}, "orders.*.placed bills.sent _INBOX.> $JS.API.STREAM.CREATE.BILLS", "$JS.API.STREAM.UPDATE.BILLS"),
        ({}, "$JS.API.STREAM.PURGE.KV_CALLBOARD", "$JS.API.STREAM.DELETE.ORDERS"),
        ({"streams": {"manage": "verify"}}, "$JS.API.STREAM.INFO.BILLS", "$JS.API.STREAM.CREATE.BILLS"),
        ({"streams": {"manage": "off"}}, "$JS.API.STREAM.INFO.BILLS", "$JS.API.STREAM.PURGE.KV_CALLBOARD"),
        ({"streams": {"topics": {"bills": "ALL"}}}, "$JS.API.STREAM.UPDATE.ALL", "$JS.API.STREAM.INFO.BILLS"),
        ({"streams": {"max_age": 60}}, "$JS.API.STREAM.UPDATE.BILLS", "$JS.API.STREAM.UPDATE.CALLBOARD_DEAD"),
        ({"streams": {"replicas": 3}}, "$JS.API.STREAM.UPDATE.CALLBOARD_DEAD", "$JS.API.STREAM.UPDATE.NONE"),
        ({"replies": {"topics": ["back.>"]}}, "back.> _INBOX.>", ">"),
        ({"replies": {"topics": [], "inboxes": ["_INBOX_web"]}}, "_INBOX_web.>", ">"),
    ],
)
def test_configuration_counts(settings: dict[str, Any], there: str, not_there: str) -> None:
    found = subjects(permissions(**settings))

    assert set(there.split()) - found == set()
    assert found & set(not_there.split()) == set()


def test_inboxes_of_its_own_are_heard_and_others_answered() -> None:
    found = permissions(nats={"inbox_prefix": "_INBOX_shop"})

    assert subjects(found, Operation.SUBSCRIBE) == {"_INBOX_shop.>", "$SRV.>"}
    assert "_INBOX.>" in subjects(found)
    assert "_INBOX_shop.>" in subjects([each for each in found if each.optional])


def test_asking_there_is_optional_where_a_topic_is_only_published_to() -> None:
    """What handlers ask is not declared."""
    [asking] = [each for each in permissions() if "self.request" in each.purpose]

    assert (asking.subjects, asking.optional) == (["$JS.API.CONSUMER.LIST.BILLS"], True)
