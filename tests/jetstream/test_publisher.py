"""A publish says done, refused or unknown, and never lies."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StreamConfig

from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.errors import (
    MessageTooLargeError,
    NoStreamError,
    PermissionDeniedError,
    PublishRefusedError,
    PublishUnknownError,
)
from callboard.jetstream import ConnectionOptions, JetStreamTransport, acknowledgement
from tests.jetstream.eventually import eventually
from tests.jetstream.frozen import frozen


async def stored_identifiers(js: JetStreamContext, stream: str) -> Counter[str]:
    """How often each identifier stands in a stream."""
    last = (await js.stream_info(stream)).state.last_seq
    messages = await asyncio.gather(*(js.get_msg(stream, sequence) for sequence in range(1, last + 1)))
    headers: list[dict[str, str]] = [message.headers or {} for message in messages]
    return Counter(found["Callboard-Id"] for found in headers)


async def test_receipt_names_where_the_message_is_stored(board: Board, js: JetStreamContext) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])

    first, second = await board.publish("orders.placed", 1), await board.publish("orders.placed", 2)

    assert (first.stream, first.sequence, first.duplicate) == ("ORDERS", 1, False)
    assert second.sequence == 2
    stored = await js.get_msg("ORDERS", 2)
    assert stored.data == b"2"
    assert (stored.headers or {})["Callboard-Id"] == second.identifier


async def test_same_identifier_and_topic_are_stored_once(board: Board, js: JetStreamContext) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])
    identifier = uuid4()

    first = await board.publish("orders.placed", 1, identifier=identifier)
    again = await board.publish("orders.placed", 1, identifier=identifier)
    elsewhere = await board.publish("orders.paid", 1, identifier=identifier)

    assert (again.sequence, again.duplicate) == (first.sequence, True)
    assert not elsewhere.duplicate
    assert (await js.stream_info("ORDERS")).state.messages == 2


async def test_two_thousand_publishes_in_flight_are_all_acknowledged(board: Board, js: JetStreamContext) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])

    receipts = await asyncio.gather(*(board.publish("orders.placed", number) for number in range(2000)))

    assert {receipt.sequence for receipt in receipts} == set(range(1, 2001))


async def test_topic_without_stream_is_refused_at_once(board: Board) -> None:
    begun = time.monotonic()

    with pytest.raises(NoStreamError, match=r"'orders\.placed'"):
        await board.publish("orders.placed", 1)

    assert time.monotonic() - begun < 3


async def test_topic_without_stream_is_refused_though_somebody_listens(
    board: Board, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acknowledgement, "ATTEMPT", 0.3)

    async def ignore(message: Msg) -> None: ...

    await client.subscribe("orders.>", cb=ignore)
    await client.flush()

    with pytest.raises(NoStreamError):
        await board.publish("orders.placed", 1)


async def test_answer_of_a_stranger_is_no_acknowledgement(board: Board, client: Client, js: JetStreamContext) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])

    async def answer(message: Msg) -> None:
        await message.respond(b"hello")

    await client.subscribe("orders.>", cb=answer)
    await client.flush()

    receipts = [await board.publish("orders.placed", number) for number in range(20)]

    assert [receipt.sequence for receipt in receipts] == list(range(1, 21))


async def test_every_acknowledged_message_is_stored_once_though_the_server_dies_meanwhile(
    nats_server: EmbeddedServer, board: Board, js: JetStreamContext
) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])
    acknowledged: list[str] = []
    turn = asyncio.Semaphore(100)

    async def publish(number: int) -> None:
        async with turn:
            acknowledged.append((await board.publish("orders.placed", number)).identifier)

    publishing = asyncio.gather(*(publish(number) for number in range(2000)))
    for deaths in (1, 2):
        await eventually(lambda: len(acknowledged) >= deaths * 600)  # noqa: B023 - awaited here
        nats_server.kill()
        await nats_server.restart()
    await publishing

    stored = await stored_identifiers(js, "ORDERS")
    assert len(set(acknowledged)) == 2000
    assert set(stored) == set(acknowledged)
    assert set(stored.values()) == {1}


async def test_full_stream_refuses(board: Board, js: JetStreamContext) -> None:
    await js.add_stream(StreamConfig("ORDERS", subjects=["orders.>"], max_msgs=2, discard=DiscardPolicy.NEW))
    await board.publish("orders.placed", 1)
    await board.publish("orders.placed", 2)

    with pytest.raises(PublishRefusedError) as refused:
        await board.publish("orders.placed", 3)

    assert refused.value.code == 10077


@pytest.mark.parametrize(("content", "note"), [("x" * 1024 * 1024, ""), ("", "x" * 1024 * 1024)])
async def test_message_that_is_too_large_is_refused_and_the_connection_lives(
    board: Board, js: JetStreamContext, content: str, note: str
) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])

    with pytest.raises(MessageTooLargeError, match="limit is 1040384"):
        await board.publish("orders.placed", content, headers={"note": note})

    assert (await board.publish("orders.placed", 1)).sequence == 1


async def test_message_just_below_the_limit_is_stored(board: Board, js: JetStreamContext) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])

    await board.publish("orders.placed", "x" * (1024 * 1024 - 9 * 1024))


async def test_limit_is_the_one_of_the_server(nats_binary: Path, tmp_path: Path) -> None:
    async with (
        EmbeddedServer(store=tmp_path / "small", port=0, extra_config="max_payload: 16384") as server,
        JetStreamTransport(ConnectionOptions((server.url,))) as transport,
    ):
        with pytest.raises(MessageTooLargeError, match="limit is 8192"):
            await Board(transport).publish("orders.placed", "x" * 9000)


_ACCOUNTS = """
authorization {
  users = [
    { user: worker, password: secret, permissions: { publish: { deny: ["Orders.secret.>"] } } }
  ]
}
"""


async def test_forbidden_topic_is_refused_promptly_and_names_no_password(nats_binary: Path, tmp_path: Path) -> None:
    async with (
        EmbeddedServer(store=tmp_path / "closed", port=0, extra_config=_ACCOUNTS) as server,
        JetStreamTransport(ConnectionOptions((f"nats://worker:secret@127.0.0.1:{server.port}",))) as transport,
    ):
        board = Board(transport)
        await transport._api.call("STREAM.CREATE.ORDERS", {"name": "ORDERS", "subjects": ["Orders.>"]})
        begun = time.monotonic()

        with pytest.raises(PermissionDeniedError, match=r"Orders\.secret\.plan"):
            await board.publish("Orders.secret.plan", 1)

        assert time.monotonic() - begun < 3
        assert (await board.publish("Orders.placed", 1)).sequence == 1
        assert "secret" not in board.servers


async def test_silence_of_the_server_is_an_unknown_outcome(
    nats_server: EmbeddedServer, board: Board, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])
    monkeypatch.setattr(acknowledgement, "BUDGET", 1.0)
    monkeypatch.setattr(acknowledgement, "ATTEMPT", 0.3)
    monkeypatch.setattr(acknowledgement, "STREAM_CHECK", 0.3)
    identifier = uuid4()
    async with frozen(nats_server):
        with pytest.raises(PublishUnknownError, match="outcome unknown") as unknown:
            await board.publish("orders.placed", 1, identifier=identifier)

    assert isinstance(unknown.value, TimeoutError)
    monkeypatch.undo()
    assert (await board.publish("orders.placed", 1, identifier=identifier)).sequence == 1
    assert (await js.stream_info("ORDERS")).state.messages == 1


async def test_server_that_is_frozen_for_a_while_delays_and_stores_once(
    nats_server: EmbeddedServer,
    transport: JetStreamTransport,
    board: Board,
    js: JetStreamContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])
    monkeypatch.setattr(acknowledgement, "ATTEMPT", 0.1)
    monkeypatch.setattr(acknowledgement, "STREAM_CHECK", 0.1)
    async with frozen(nats_server):
        publishing = asyncio.create_task(board.publish("orders.placed", 1))
        await eventually(lambda: transport._publisher._count >= 3)
        assert not publishing.done()

    await publishing
    assert (await js.stream_info("ORDERS")).state.messages == 1


async def test_cancelled_publish_leaves_nothing_behind(
    nats_server: EmbeddedServer, transport: JetStreamTransport, board: Board, js: JetStreamContext
) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])
    async with frozen(nats_server):
        publishing = [asyncio.create_task(board.publish("orders.placed", number)) for number in range(2000)]
        await eventually(lambda: len(transport._publisher._pending) == acknowledgement.IN_FLIGHT)
        for task in publishing:
            task.cancel()
        await asyncio.wait(publishing)

    assert all(task.cancelled() for task in publishing)
    assert not transport._publisher._pending
    receipts = await asyncio.gather(*(board.publish("orders.paid", number) for number in range(1100)))
    assert len(receipts) == 1100
