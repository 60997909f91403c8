"""`callboard topology` shows, makes and checks, while the service runs and while it does not."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import nats
import pytest
from nats.js import JetStreamContext

from callboard.embedded import EmbeddedServer
from tests.cli.command import CommandLine

pytestmark = pytest.mark.usefixtures("nats_binary")

SMALLER = """
from callboard import Actor, query


class Orders(Actor):
    @query("orders.add")
    async def add(self, numbers: list[int]) -> int:
        return sum(numbers)
"""


@pytest.fixture
async def js(nats_server: EmbeddedServer) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(nats_server.url, allow_reconnect=False)
    yield client.jetstream()
    await client.close()


async def test_plan_apply_and_check_on_a_new_server(served: CommandLine, js: JetStreamContext) -> None:
    planned = await served("topology", "plan", "svc")
    assert (planned.code, planned.err) == (0, "")
    rows = [line.split()[:3] for line in planned.out.splitlines()[1:]]
    assert ["create", "stream", "ORDERS"] in rows
    assert len([row for row in rows if row[:2] == ["create", "durable"]]) == 4
    assert await js.streams_info() == []
    assert (await served("topology", "check", "svc")).code == 1

    applied = await served("topology", "apply", "svc")
    assert (applied.code, applied.err) == (0, "")
    assert "created stream 'ORDERS': for orders, orders.>" in applied.out.splitlines()

    checked = await served("topology", "check", "svc")
    assert (checked.code, checked.out, checked.err) == (0, "the server is as the code says\n", "")


async def test_plan_shows_field_and_both_values_over_a_running_service(served: CommandLine) -> None:
    running = await served.run("svc")
    await running.worker()

    same = await served("topology", "check", "svc")
    named = await served("topology", "plan", "svc", CALLBOARD_STREAMS_MAX_AGE="86400")
    document = await served("topology", "plan", "svc", "--json", CALLBOARD_STREAMS_MAX_AGE="86400")

    assert same.code == 0
    (row,) = named.out.splitlines()[1:]
    assert row.split() == ["change", "stream", "ORDERS", "ORDERS", "max_age", "604800.0", "86400.0"]
    (difference,) = json.loads(document.out)["differences"]
    assert difference == {
        "remedy": "change",
        "kind": "stream",
        "name": "ORDERS",
        "stream": "ORDERS",
        "field": "max_age",
        "server": 604800.0,
        "code": 86400.0,
        "note": "",
    }


async def test_apply_says_what_it_did_and_what_is_refused(served: CommandLine, js: JetStreamContext) -> None:
    await js.add_stream(name="taken", subjects=["orders.special"])

    result = await served("topology", "apply", "svc")
    document = await served("topology", "apply", "svc", "--json")

    assert (result.code, result.err) == (5, "")
    assert "created stream 'CALLBOARD_DEAD'" in result.out
    assert "refused stream 'ORDERS': cannot be created for the topic" in result.out
    assert document.code == 5
    (outcome,) = json.loads(document.out)["outcomes"]
    assert (outcome["name"], outcome["done"]) == ("ORDERS", False)
    assert "'taken'" in outcome["reason"]


async def test_durables_that_are_left_over_go_only_when_somebody_says_so(
    served: CommandLine, js: JetStreamContext
) -> None:
    await served("topology", "apply", "svc")
    await js.publish("orders.slow", b'"x"')
    (served.folder / "svc.py").write_text(SMALLER)

    planned = await served("topology", "plan", "svc")
    kept = await served("topology", "apply", "svc")
    assert [row.split()[0] for row in planned.out.splitlines()[1:]] == ["prune"] * 3
    assert "1 messages wait in it" in planned.out
    assert (kept.code, len(await js.consumers_info("ORDERS"))) == (0, 4)
    assert kept.out.count("kept durable") == 3

    pruned = await served("topology", "apply", "svc", "--prune")
    assert pruned.out.count("deleted durable") == 3
    assert (pruned.code, len(await js.consumers_info("ORDERS"))) == (0, 1)


async def test_lost_stream_ends_the_run_until_somebody_gives_it_up(served: CommandLine, js: JetStreamContext) -> None:
    await served("topology", "apply", "svc")
    await js.delete_stream("ORDERS")

    running = await served.run("svc")
    assert await running.ended() == 5
    assert "callboard: stream 'ORDERS'" in running.text
    assert "apply --recreate ORDERS" in running.text
    assert (await served("topology", "apply", "svc")).code == 5

    given_up = await served("topology", "apply", "svc", "--recreate", "ORDERS")
    assert given_up.code == 0
    again = await served("topology", "apply", "svc", "--recreate", "ORDERS")
    assert (again.code, again.err.count("\n")) == (5, 1)
    assert "is not lost" in again.err


async def test_wrong_use_and_an_absent_server_are_one_line(callboard: CommandLine) -> None:
    (callboard.folder / "memory.yml").write_text("callboard: {transport: callboard.brokers.memory:InMemoryTransport}\n")
    nothing = await callboard("topology", "plan")
    unknown = await callboard("topology", "plan", "nowhere")
    memory = await callboard("topology", "plan", "svc", "--config", "memory.yml")
    absent = await callboard("topology", "plan", "svc", "--nats", "nats://127.0.0.1:1")

    assert [result.code for result in (nothing, unknown, memory, absent)] == [2, 2, 2, 3]
    for result, text in (
        (nothing, "give a TARGET"),
        (unknown, "nowhere"),
        (memory, "InMemoryTransport"),
        (absent, ":1"),
    ):
        assert text in result.err
        assert len(result.err.splitlines()) == 1


DENIED = [
    ("subscribe", "_INBOX.>", "_INBOX."),
    ("publish", "$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.CREATE.KV_CALLBOARD"),
    ("publish", "$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.CREATE.ORDERS."),
    ("publish", "$JS.API.CONSUMER.MSG.NEXT.>", "$JS.API.CONSUMER.MSG.NEXT.ORDERS."),
]


@pytest.mark.parametrize(("operation", "subject", "named"), DENIED, ids=str)
async def test_run_without_permission_ends_with_one_line(
    callboard: CommandLine, operation: str, subject: str, named: str
) -> None:
    permissions = f'publish: {{ allow: ">" }}, {operation}: {{ deny: "{subject}" }}'
    users = f"users: [{{ user: shop, password: secret, permissions: {{ {permissions} }} }}]"
    async with EmbeddedServer(port=0, extra_config=f"authorization {{ {users} }}") as server:
        running = await callboard.run("svc", "--nats", server.url.replace("//", "//shop:secret@"))

        assert await running.ended() == 5

    (line,) = [line for line in running.text.splitlines() if line.startswith("callboard: ")]
    assert f"permission denied for '{named}" in line
    assert "Traceback" not in running.text
