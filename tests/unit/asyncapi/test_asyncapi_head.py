"""The head of a document: who it is about, in which version, on which servers."""

from __future__ import annotations

import pytest

from callboard import Actor, event
from tests.asyncapi import described


class Orders(Actor):
    """Takes orders."""

    @event("orders.placed")
    async def take(self) -> None: ...


class Kitchen(Actor):
    @event("orders.placed")
    async def cook(self) -> None: ...


def test_the_head_says_who_it_is() -> None:
    info = described(Orders, Kitchen, api_version="1.2.3")["info"]

    assert (info["title"], info["version"]) == ("shop", "1.2.3")
    assert info["description"] == __doc__
    assert info["tags"] == [{"name": "Orders", "description": "Takes orders."}, {"name": "Kitchen"}]


def test_the_version_is_that_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(Actor):
        @event("elsewhere.happened")
        async def hear(self) -> None: ...

    assert described(Elsewhere)["info"]["version"] == "0.0.0"
    monkeypatch.setattr(Elsewhere, "__module__", "msgspec.json")
    monkeypatch.delattr("msgspec.__version__")
    assert described(Elsewhere)["info"]["version"].count(".") >= 1
    monkeypatch.setattr("msgspec.__version__", "9.9", raising=False)
    assert described(Elsewhere)["info"]["version"] == "9.9"


def test_servers_are_named_without_secrets() -> None:
    addresses = ["nats://me:p@ss/w@one:4222", "tls://t0ken@two", "wss://three:443/nats?auth=s3cret", "nats://one:4222"]
    document = described(Orders, servers=addresses)

    assert document["servers"] == {
        "server1": {"host": "one:4222", "protocol": "nats"},
        "server2": {"host": "two", "protocol": "nats", "description": "With TLS."},
        "server3": {"host": "three:443", "pathname": "/nats", "protocol": "wss"},
    }
    assert "servers" not in described(Orders)
