"""Tools for NATS services find the actors: ADR-32."""

# nats-py leaves its keyword arguments without types.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.micro.service import SEMVER_REGEX, ServiceInfo, ServicePing, ServiceStats

from callboard import Actor, Supervisor, command, event
from callboard.embedded import EmbeddedServer
from callboard.jetstream import JetStreamTransport
from callboard.jetstream.discovery import discovery_name, semantic_version
from callboard.system import Service, System
from tests.jetstream.eventually import eventually
from tests.jetstream.service import durable_of, service
from tests.jetstream.test_permissions import server_that_denies, url

pytestmark = pytest.mark.usefixtures("nats_binary")


class Rebooking(Actor):
    @command("passengers.rebook")
    async def rebook(self, seat: int) -> int:
        return seat

    @event("airports.{code}.delay")
    async def delayed(self, code: str) -> None: ...


class Prices(Actor):
    @command("prices.set")
    async def set(self, price: int) -> None: ...


async def answer(client: Client, subject: str) -> dict[str, Any]:
    """The first answer."""
    return json.loads((await client.request(subject, timeout=5)).data)


async def is_answered(client: Client) -> bool:
    """Whether the server knows by now that somebody listens."""
    try:
        return bool(await answer(client, "$SRV.PING"))
    except (NatsError, TimeoutError):
        return False


@pytest.fixture
async def flights(nats_server: EmbeddedServer, client: Client) -> AsyncIterator[System]:
    async with service(nats_server, Rebooking, name="flights.eu") as system:
        await eventually(lambda: is_answered(client))
        yield system


async def answers(client: Client, subject: str, count: int) -> list[dict[str, Any]]:
    """So many answers, and no more: whoever answers does so before the marker that is asked for afterwards."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    await client.publish(subject, reply=inbox)
    found = [json.loads((await subscription.next_msg(timeout=5)).data) for _ in range(count)]
    await answer(client, "$SRV.PING")
    with pytest.raises((NatsError, TimeoutError)):
        await subscription.next_msg(timeout=0.05)
    await subscription.unsubscribe()
    return found


@pytest.mark.usefixtures("flights")
async def test_ping_is_answered_with_who_it_is(client: Client) -> None:
    ping = await answer(client, "$SRV.PING")

    assert ping["type"] == "io.nats.micro.v1.ping_response"
    assert ping["name"] == "flights_eu"
    assert SEMVER_REGEX.match(ping["version"])
    assert ServicePing.from_dict(ping).id
    assert set(ping["metadata"]) == {"callboard.host", "callboard.pid"}


@pytest.mark.usefixtures("flights")
async def test_info_lists_an_endpoint_for_each_handler(client: Client) -> None:
    info = await answer(client, "$SRV.INFO.flights_eu")

    first, second = ServiceInfo.from_dict(info).endpoints
    assert info["type"] == "io.nats.micro.v1.info_response"
    assert (first.name, first.subject) == ("Rebooking-passengers_rebook", "passengers.rebook")
    assert first.queue_group == durable_of(Rebooking, "passengers.rebook", "flights.eu")
    assert first.metadata == {
        "callboard.kind": "command",
        "callboard.actor": "Rebooking",
        "callboard.stream": "PASSENGERS",
    }
    assert (second.name, second.subject) == ("Rebooking-airports_code_delay", "airports.*.delay")


async def test_stats_are_what_the_process_counts(client: Client, flights: System) -> None:
    durable = durable_of(Rebooking, "passengers.rebook", "flights.eu")
    counted = flights._instrumentation.statistics.mailbox(durable, "Rebooking", "passengers.rebook")
    for error_type in ("", "", "", "ValueError"):
        counted.settled(0.5, error_type, again=False)
    counted.dead_letters["ValueError"] += 1
    counted.lag_now = 5

    stats = await answer(client, "$SRV.STATS.flights_eu")

    first, second = ServiceStats.from_dict(stats).endpoints
    assert stats["type"] == "io.nats.micro.v1.stats_response"
    assert (first.num_requests, first.num_errors) == (4, 1)
    assert (first.processing_time, first.average_processing_time) == (2_000_000_000, 500_000_000)
    assert first.data == {"errors": {"ValueError": 1}, "dead_letters": 1, "redelivered": 0, "lag": 5}
    assert (second.num_requests, second.num_errors, second.average_processing_time) == (0, 0, 0)


async def test_each_service_of_a_process_answers_for_itself(nats_server: EmbeddedServer, client: Client) -> None:
    """What names one is answered by that one, and what names none by all."""
    services = [Service("flights", Supervisor([Rebooking])), Service("prices", Supervisor([Prices]))]
    async with System(services, nats=nats_server.url, grace=1):
        await eventually(lambda: is_answered(client))
        everyone = await answers(client, "$SRV.PING", 2)
        by_name = {ping["name"]: ping["id"] for ping in everyone}
        [named] = await answers(client, "$SRV.INFO.prices", 1)
        [exact] = await answers(client, f"$SRV.STATS.flights.{by_name['flights']}", 1)
        await answers(client, f"$SRV.PING.flights.{by_name['prices']}", 0)
        await answers(client, "$SRV.PING.flight", 0)
        await answers(client, "$SRV.SCHEMA", 0)

    assert sorted(by_name) == ["flights", "prices"]
    assert [endpoint["subject"] for endpoint in named["endpoints"]] == ["prices.set"]
    assert exact["id"] == by_name["flights"]


@pytest.mark.usefixtures("flights")
async def test_request_without_a_reply_subject_does_no_harm(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    await client.publish("$SRV.PING")

    assert (await answer(client, "$SRV.PING"))["name"] == "flights_eu"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_services_answer_after_a_reconnection_and_on_a_client_that_replaced_another(
    nats_server: EmbeddedServer, client: Client, flights: System
) -> None:
    nats_server.kill()
    await nats_server.wait()
    await nats_server.restart()
    await eventually(lambda: is_answered(client))

    transport = flights._transport
    assert isinstance(transport, JetStreamTransport)
    former = transport._connection.client
    await former.close()
    await eventually(lambda: transport._connection.client is not former)
    await eventually(lambda: is_answered(client))


async def test_account_that_may_not_listen_runs_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def told() -> int:
        return sum("list no actors" in record.message for record in caplog.records)

    async with server_that_denies("subscribe", "$SRV.>") as server:
        tree = Supervisor([Rebooking])
        async with System(tree, name="flights", nats=url(server), grace=1) as system:
            await eventually(lambda: told() == 1)
            assert await system.board.request("passengers.rebook", 7) == 7
            server.kill()
            await server.wait()
            await server.restart()
            await eventually(lambda: "reconnected" in caplog.text)
            assert await system.board.request("passengers.rebook", 8, timeout=15) == 8

    assert told() == 1
    assert not [record.message for record in caplog.records if "permission denied" in record.message]


@pytest.mark.parametrize(
    ("version", "semantic"),
    [("0.1.0", "0.1.0"), ("1.2", "1.2.0"), ("0.2.0.dev1", "0.2.0-dev1"), ("1.0.0rc1+local.2", "1.0.0-rc1-local-2")],
)
def test_python_version_becomes_a_semantic_one(version: str, semantic: str) -> None:
    assert semantic_version(version) == semantic
    assert SEMVER_REGEX.match(semantic)


def test_names_have_only_what_is_allowed() -> None:
    assert discovery_name("flights.eu/north") == "flights_eu_north"
    assert re.fullmatch(r"[A-Za-z0-9_-]+", discovery_name("été"))
