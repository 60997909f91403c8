"""`callboard dead` lists, shows, replays and discards, and says what it did."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from callboard.brokers.deadletter import DeadLetter
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.mailbox import Kind, MailboxSpec
from callboard.brokers.topic import TopicTemplate
from callboard.brokers.transport import Topology
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from tests.cli.command import CommandLine
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")

SERVICE = """
from pathlib import Path
from callboard import Actor, event


class Failing(Actor):
    retry = ()

    @event("orders.placed")
    async def placed(self, number: int) -> None:
        if not Path("well").exists():
            raise ValueError(f"no nuts for {number}")
        Path(f"failing-{number}").touch()


class Other(Actor):
    @event("orders.placed")
    async def placed(self, number: int) -> None:
        path = Path(f"other-{number}")
        path.write_text(path.read_text() + "x" if path.exists() else "x")
"""
SPEC = MailboxSpec(Kind.EVENT, TopicTemplate.parse("orders.placed"), service="shop", actor="Orders")


class GivenUp(BrokerDelivery):
    """A delivery that somebody gave up long ago."""

    async def ack(self) -> None: ...
    async def nak(self, delay: float = 0.0) -> None: ...
    async def term(self, reason: str) -> None: ...
    async def in_progress(self) -> None: ...


@pytest.fixture
async def transport(nats_server: EmbeddedServer) -> AsyncIterator[JetStreamTransport]:
    """Where a test puts letters, with one mailbox that they may go back to."""
    async with JetStreamTransport(ConnectionOptions((nats_server.url,))) as transport:
        await transport.prepare(Topology([SPEC], ()))
        yield transport


async def put(
    transport: JetStreamTransport,
    number: int,
    error: BaseException,
    *,
    actor: str = "Orders",
    hours: float = 0.0,
    body: bytes = b"1",
    durable: str = SPEC.durable,
) -> None:
    headers = {"shelf": "3"}
    delivery = GivenUp(
        "orders.placed", headers, body, stream="ORDERS", sequence=number, delivered=1, durable=durable, touched=0.0
    )
    at = datetime.now(UTC) - timedelta(hours=hours)
    await transport.dead_letters.put(DeadLetter.of(delivery, error, 3, at, actor=actor), {})


async def left(transport: JetStreamTransport) -> Sequence[int]:
    return [letter.sequence async for letter in transport.dead_letters.letters()]


async def test_event_is_replayed_by_the_actor_that_failed_and_by_no_other(
    served: CommandLine, transport: JetStreamTransport
) -> None:
    (served.folder / "svc.py").write_text(SERVICE)
    running = await served.run("svc")
    await running.worker()
    assert (await served("publish", "orders.placed", "1")).code == 0
    await eventually(lambda: _has_letters(transport, 1))

    listed = await served("dead", "list")
    assert listed.code == 0, listed.err
    assert listed.out.splitlines()[0].split() == ["seq", "died", "actor", "topic", "attempts", "error"]
    assert "ValueError  no nuts for 1" in listed.out
    assert listed.out.splitlines()[-1] == "1 dead letter"

    (served.folder / "well").touch()
    replayed = await served("dead", "replay", "1")
    assert (replayed.code, replayed.err) == (0, "")
    assert replayed.out == "1 replayed: orders.placed is message 2 of ORDERS\n1 done, 0 not done\n"
    await running.exists("failing-1")
    assert (await served("publish", "orders.placed", "2")).code == 0
    await running.exists("failing-2")
    await running.exists("other-2")
    assert (served.folder / "other-1").read_text() == "x"
    assert (await served("dead", "list")).out == "0 dead letters\n"


async def _has_letters(transport: JetStreamTransport, count: int) -> bool:
    return len(await left(transport)) == count


async def test_list_prints_json_lines_and_filters(served: CommandLine, transport: JetStreamTransport) -> None:
    await put(transport, 1, KeyError("a"), hours=50)
    await put(transport, 2, ValueError("b"), actor="Stock")
    await put(transport, 3, ValueError("c"))

    async def listed(*options: str) -> list[int]:
        result = await served("dead", "list", "--json", *options)
        assert result.code == 0, result.err
        return [json.loads(line)["seq"] for line in result.out.splitlines()]

    assert await listed() == [1, 2, 3]
    assert await listed("--error", "ValueError", "--actor", "Orders") == [3]
    assert await listed("--older-than", "2d") == [1]
    assert await listed("--newer-than", "49.5h", "--topic", "orders.*", "--limit", "1") == [2]
    assert await listed("--durable", "other") == []
    limited = await served("dead", "list", "--limit", "2")
    assert limited.out.splitlines()[-1] == "2 dead letters, and more: see --limit"


async def test_show_prints_everything(served: CommandLine, transport: JetStreamTransport) -> None:
    await put(transport, 1, ValueError("red \x1b[31m"), body='{"item": "nüt"}'.encode())
    await put(transport, 2, ValueError("b"), body=b"\xff\x00")

    page = await served("dead", "show", "1")
    assert page.code == 0, page.err
    assert "message: red \\x1b[31m\n" in page.out
    assert "\x1b" not in page.out
    assert f"durable: {SPEC.durable}\n" in page.out
    assert "headers:\n  shelf: 3\n" in page.out
    assert 'body (text, 16 bytes):\n{"item": "nüt"}\n' in page.out

    document = json.loads((await served("dead", "show", "2", "--json")).out)
    assert (document["body"], document["body_encoding"]) == ("/wA=", "base64")
    assert document["headers"] == {"shelf": "3"}
    assert "ValueError: b" in document["traceback"]

    gone = await served("dead", "show", "9")
    assert (gone.code, gone.out) == (5, "")
    assert "there is no dead letter 9" in gone.err


async def test_what_cannot_be_replayed_is_said_and_keeps_nobody_else_from_it(
    served: CommandLine, transport: JetStreamTransport
) -> None:
    await put(transport, 1, ValueError("a"), durable="gone")
    await put(transport, 2, ValueError("b"))

    result = await served("dead", "replay", "1", "7", "2")

    assert result.code == 1
    assert result.out.splitlines() == [
        "2 replayed: orders.placed is message 1 of ORDERS",
        "1 done, 2 not done",
    ]
    assert "dead letter 1 cannot be replayed: stream 'ORDERS' has no durable 'gone'" in result.err
    assert "there is no dead letter 7" in result.err
    assert await left(transport) == [1]


async def test_dry_run_changes_nothing(served: CommandLine, transport: JetStreamTransport) -> None:
    await put(transport, 1, ValueError("a"))
    await put(transport, 2, ValueError("b"), durable="gone")

    replayed = await served("dead", "replay", "--all", "--dry-run")
    discarded = await served("dead", "discard", "--all", "--dry-run")

    assert (replayed.code, replayed.out) == (1, f"1 would be replayed to {SPEC.durable}\n1 done, 1 not done\n")
    assert (discarded.code, discarded.err) == (0, "")
    assert discarded.out.splitlines()[0] == "1 would be discarded (orders.placed, ValueError)"
    assert await left(transport) == [1, 2]


async def test_all_asks_unless_a_filter_or_yes_says_what_is_meant(
    served: CommandLine, transport: JetStreamTransport
) -> None:
    for number in range(1, 6):
        await put(transport, number, ValueError("a") if number < 4 else KeyError("b"))

    unanswered = await served("dead", "discard", "--all")
    refused = await served("dead", "discard", "--all", stdin=b"n\n")
    assert (unanswered.code, refused.code) == (130, 130)
    assert "discard all dead letters?" in refused.err
    assert await left(transport) == [1, 2, 3, 4, 5]

    filtered = await served("dead", "discard", "--all", "--error", "KeyError")
    assert filtered.out.splitlines() == ["4 discarded", "5 discarded", "2 done, 0 not done"]
    agreed = await served("dead", "replay", "--all", "--limit", "1")
    assert (agreed.code, agreed.out.splitlines()[-1]) == (0, "1 done, 0 not done")
    assert (await served("dead", "discard", "--all", stdin=b"y\n")).code == 0
    assert await left(transport) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["replay"], "which letters?"),
        (["discard", "--error", "ValueError"], "which letters?"),
        (["replay", "1", "--all"], "not both"),
        (["replay", "1", "--actor", "Orders"], "not both"),
        (["list", "--older-than", "3 weeks"], "--older-than takes a number and a unit"),
        (["replay", "1", "--rate", "0"], "--rate"),
        (["show", "0"], "SEQ"),
    ],
)
async def test_wrong_use_is_one_line_and_code_2(callboard: CommandLine, arguments: list[str], problem: str) -> None:
    result = await callboard("dead", *arguments)

    assert (result.code, result.out) == (2, "")
    assert problem in result.err
    assert len(result.err.splitlines()) == 1


async def test_without_a_server_the_code_is_3(callboard: CommandLine) -> None:
    result = await callboard("dead", "list", NATS_URL="nats://127.0.0.1:1")

    assert result.code == 3
    assert "no NATS server" in result.err


async def test_every_command_explains_itself(callboard: CommandLine) -> None:
    for name in ("list", "show", "replay", "discard"):
        text = (await callboard("dead", name, "--help")).out
        assert f"callboard dead {name} " in text
        assert "Exit codes" in text
