"""`callboard doctor`: each thing that can be wrong is found, and its finding says what to do."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import nats
import pytest
from nats.js.api import DiscardPolicy

import callboard as library
from callboard.embedded import EmbeddedServer
from tests.cli.command import CommandLine, Result
from tests.jetstream.denying import server_that_denies, url

pytestmark = pytest.mark.usefixtures("nats_binary")


def findings(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.out.splitlines()]


def wrong(result: Result) -> list[str]:
    return [finding["subject"] for finding in findings(result) if finding["grade"] == "wrong"]


async def test_service_that_runs_is_healthy(served: CommandLine) -> None:
    running = await served.run("svc")
    await running.worker()
    looked = await served("doctor", "svc", "--json")
    assert (looked.code, looked.err) == (0, "")
    assert wrong(looked) == []
    subjects = {finding["subject"] for finding in findings(looked)}
    assert {"server", "JetStream", "mailboxes", "dead letters", "topology", "permissions"} <= subjects
    assert any(subject.startswith("streams ") and "ORDERS" in subject for subject in subjects)
    assert [each["remedy"] for each in findings(looked) if each["grade"] == "note"]

    read = (await served("doctor")).out
    assert "ok    server: nats://127.0.0.1:" in read
    assert "-> for more: a cluster and 'streams.replicas: 3'" in read


@asynccontextmanager
async def years_ago(server: EmbeddedServer) -> AsyncGenerator[str]:
    """The address of a server whose clock is years behind: what it says of now passes through here."""
    address = urlsplit(server.url)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(re.sub(rb'"ts":"20\d\d-', b'"ts":"2001-', chunk))
            await writer.drain()
        writer.close()

    async def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, to_them = await asyncio.open_connection(address.hostname, address.port)
        await asyncio.gather(pass_on(reader, to_them), pass_on(theirs, writer), return_exceptions=True)

    async with await asyncio.start_server(opened, "127.0.0.1", 0) as proxy:
        yield f"nats://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"


async def test_clock_that_is_wrong_is_found(served: CommandLine, nats_server: EmbeddedServer) -> None:
    running = await served.run("svc")
    await running.worker()
    async with years_ago(nats_server) as url:
        looked = await served("doctor", "--json", NATS_URL=url)
    assert (looked.code, wrong(looked)) == (1, ["clock"])
    assert "NTP" in next(each["remedy"] for each in findings(looked) if each["subject"] == "clock")


async def test_no_server_is_wrong(served: CommandLine, nats_server: EmbeddedServer) -> None:
    nats_server.kill()
    looked = await served("doctor", "--json")
    assert (looked.code, wrong(looked)) == (1, ["server"])
    assert "NATS_URL" in findings(looked)[0]["remedy"]


async def test_server_that_does_not_let_us_in_is_wrong_and_no_password_is_shown(served: CommandLine) -> None:
    async with EmbeddedServer(port=0, extra_config="authorization { user: shop, password: right-one }") as server:
        looked = await served("doctor", "--json", NATS_URL=server.url.replace("//", "//shop:wrong-one@"))
        asked = await served("request", "orders.add", "[]", NATS_URL=server.url)
    assert (looked.code, wrong(looked)) == (1, ["server"])
    assert findings(looked)[0]["remedy"] == "check them, and whom the server knows"
    assert (asked.code, len(asked.err.splitlines())) == (5, 1)
    assert "does not accept a connection without credentials" in asked.err
    assert "wrong-one" not in f"{looked}"


async def test_server_without_jetstream_is_wrong(served: CommandLine) -> None:
    async with EmbeddedServer(port=0, extra_config="accounts { A { users: [{user: a, password: b}] } }") as server:
        looked = await served("doctor", "--json", NATS_URL=server.url.replace("//", "//a:b@"))
    assert (looked.code, wrong(looked)) == (1, ["JetStream"])
    assert "enable it for the account" in findings(looked)[-1]["remedy"]


async def test_stream_in_memory_drift_and_a_mailbox_that_nobody_reads(
    served: CommandLine, nats_server: EmbeddedServer
) -> None:
    client = await nats.connect(nats_server.url)
    await client.jetstream().add_stream(name="ORDERS", subjects=["orders", "orders.>"], storage="memory")
    await client.close()
    running = await served.run("svc")
    await running.worker()
    running.signal(signal.SIGTERM)
    await running.ended()
    async with library.connect(nats_server.url) as board:
        await board.publish("orders.slow", "never")

    looked = await served("doctor", "svc", "--json", CALLBOARD_STREAMS_MAX_AGE="86400")
    assert looked.code == 1
    assert "stream ORDERS" in wrong(looked)
    assert "drift" in wrong(looked)
    assert any(subject.startswith("mailbox command-orders_slow") for subject in wrong(looked))


async def test_dead_letters_and_orphans_are_noted(served: CommandLine, nats_server: EmbeddedServer) -> None:
    running = await served.run("svc")
    await running.worker()
    async with library.connect(nats_server.url) as board:
        await board.publish("orders.add", "no numbers")
        while not (found := json.loads((await served("mailboxes", "--json")).out)["mailboxes"]) or any(
            each["lag"] or each["in_progress"] for each in found
        ):
            pass
    (running.folder / "smaller.py").write_text(
        "from callboard import Actor, query\n\n\nclass Orders(Actor):\n"
        '    @query("orders.add")\n    async def add(self, numbers: list[int]) -> int:\n        return sum(numbers)\n'
    )
    looked = findings(await served("doctor", "smaller", "--name", "svc", "--json"))
    assert [each["what"] for each in looked if each["subject"] == "dead letters"] == ["1 given up"]
    assert [each["grade"] for each in looked if each["subject"] == "orphan"] == ["note"] * 3


async def test_lost_stream_is_drift_and_no_question_of_permissions(
    served: CommandLine, nats_server: EmbeddedServer
) -> None:
    running = await served.run("svc")
    await running.worker()
    client = await nats.connect(nats_server.url)
    await client.jetstream().delete_stream("ORDERS")
    await client.close()
    looked = await served("doctor", "svc", "--json")
    assert (looked.code, set(wrong(looked))) == (1, {"drift"})


async def test_stream_that_is_nearly_full_is_wrong(served: CommandLine, nats_server: EmbeddedServer) -> None:
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    for name, discard in (("ORDERS", DiscardPolicy.NEW), ("BILLS", DiscardPolicy.OLD)):
        await js.add_stream(name=name, subjects=[f"{name.lower()}.>"], max_msgs=10, discard=discard)
        for number in range(10):
            await js.publish(f"{name.lower()}.{number}")
    await client.close()
    looked = await served("doctor", "--json")
    assert (looked.code, wrong(looked)) == (1, ["stream ORDERS"])
    assert "is 100 % full (10 of 10 messages)" in looked.out


async def test_missing_permission_is_wrong(served: CommandLine) -> None:
    async with server_that_denies("publish", "$JS.API.CONSUMER.LIST.>") as server:
        served.environment["NATS_URL"] = url(server, "root")
        running = await served.run("svc")
        await running.worker()
        looked = await served("doctor", "svc", "--json", NATS_URL=url(server))
    assert looked.code == 1
    assert "permissions" in wrong(looked)
    assert "CONSUMER.LIST" in json.dumps(findings(looked))
