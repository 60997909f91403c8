"""The client's short way in and out: nothing is read or sent otherwise than by nats-py, only sooner."""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import nats
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.msg import Msg
from nats.errors import BadSubjectError, ConnectionClosedError, OutboundBufferLimitError, ProtocolError

from callboard.brokers.wire import header_block, headers_of
from callboard.embedded import EmbeddedServer
from callboard.jetstream.client import NatsClient
from tests.jetstream.eventually import eventually

NAMES = st.text(st.characters(codec="ascii", exclude_characters=": \t\x0b\x0c\r\n\x1c\x1d\x1e\x1f"), min_size=1)
VALUES = st.text().map(lambda text: " ".join(text.split()))


@frozen
class Arrival:
    """What a listener was called with."""

    subject: str
    reply: str
    body: bytes
    headers: dict[str, str] | None = None


ARRIVALS = st.builds(
    Arrival,
    subject=st.sampled_from(["a", "orders.placed", "ä.ö"]),
    reply=st.sampled_from(["", "_INBOX.1.2"]),
    body=st.binary() | st.sampled_from([b"\r\n", b"MSG a 1 3\r\nabc\r\n", b"PING\r\n"]),
    headers=st.none() | st.dictionaries(NAMES, VALUES, min_size=1, max_size=4),
)


def as_sent(arrival: Arrival) -> bytes:
    """By a server to its subscription 1."""
    reply = f"{arrival.reply} " if arrival.reply else ""
    if arrival.headers is None:
        line = f"MSG {arrival.subject} 1 {reply}{len(arrival.body)}"
        return line.encode() + b"\r\n" + arrival.body + b"\r\n"
    block = header_block(arrival.headers)
    line = f"HMSG {arrival.subject} 1 {reply}{len(block)} {len(block) + len(arrival.body)}"
    return line.encode() + b"\r\n" + block + arrival.body + b"\r\n"


def listening(client: NatsClient) -> list[Arrival]:
    """What arrives at subscription 1 from now on."""
    arrived: list[Arrival] = []
    client._status = NatsClient.CONNECTED
    client.hearing[b"1"] = lambda *facts: arrived.append(Arrival(*facts))
    return arrived


@given(arrivals=st.lists(ARRIVALS, max_size=5), cuts=st.lists(st.integers(0, 400)))
def test_messages_arrive_whole_wherever_the_network_cuts_them(arrivals: Sequence[Arrival], cuts: Sequence[int]) -> None:
    async def read() -> list[Arrival]:
        client = NatsClient()
        arrived = listening(client)
        data = b"+OK\r\n".join(map(as_sent, arrivals))
        places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
        for begin, end in pairwise(places):
            await client._ps.parse(data[begin:end])
        return arrived

    assert asyncio.run(read()) == list(arrivals)


@given(headers=st.dictionaries(NAMES, VALUES))
def test_headers_are_read_as_they_were_sent(headers: dict[str, str]) -> None:
    assert headers_of(header_block(headers)) == headers


@given(headers=st.dictionaries(st.text(), st.text().filter(lambda text: text.isprintable() or "\n" in text)))
def test_no_header_makes_a_line_of_its_own(headers: dict[str, str]) -> None:
    block = header_block(headers)
    assert block.count(b"\n") == block.count(b"\r") == len(headers) + 2


@pytest.mark.parametrize(
    ("block", "headers"),
    [
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503"}),
        (b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 1\r\n\r\n",
         {"Status": "408", "Description": "Request Timeout", "Nats-Pending-Messages": "1"}),
        (b"NATS/1.0 100 Idle Heartbeat\r\n\r\n", {"Status": "100", "Description": "Idle Heartbeat"}),
        (b"NATS/1.0\r\nA:b\r\nA: c \r\nB:\td\r\n\r\n", {"A": "c", "B": "d"}),
        (b"NATS/1.0\r\nno colon\r\n: nameless\r\ntwo words: x\r\n\xc3\xa4: x\r\nurl: http://x\r\n\r\n", {"url": "http://x"}),
        (b"NATS/1.0\r\nbroken: \xff\r\n\r\n", {"broken": "\ufffd"}),
        (b"", {}),
    ],
)  # fmt: skip
def test_what_others_send_is_read_as_nats_py_reads_it(block: bytes, headers: dict[str, str]) -> None:
    assert headers_of(block) == headers


@pytest.mark.parametrize("line", [b"MSG\r\n", b"MSG a 1 x\r\n", b"HMSG a 1 x 3\r\n", b"NONSENSE\r\n"])
async def test_malformed_line_is_an_error_of_the_protocol(line: bytes) -> None:
    client = NatsClient()
    listening(client)
    with pytest.raises(ProtocolError):
        await client._ps.parse(line)


@asynccontextmanager
async def connected(server: EmbeddedServer) -> AsyncGenerator[NatsClient]:
    client = NatsClient()
    await client.connect(server.url, reconnect_time_wait=0.05)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        await client.close()


async def test_what_is_sent_arrives_in_order_at_every_kind_of_listener(nats_server: EmbeddedServer) -> None:
    heard: list[Arrival] = []
    told: list[Msg] = []

    async def tell(message: Msg) -> None:
        told.append(message)

    async with connected(nats_server) as client:
        await client.hear("work.>", lambda *facts: heard.append(Arrival(*facts)))
        await client.subscribe("work.>", cb=tell)
        client.send("work.a", b"1")
        client.send("work.b", b"2", reply="_INBOX.x", headers=header_block({"name": "välue"}))
        client.acknowledge("work.c")
        await client.publish("work.d", b"4")
        await client.flush()
        await eventually(lambda: len(told) == 4)

    assert heard == [
        Arrival("work.a", "", b"1"),
        Arrival("work.b", "_INBOX.x", b"2", {"name": "välue"}),
        Arrival("work.c", "", b""),
        Arrival("work.d", "", b"4"),
    ]
    assert [Arrival(m.subject, m.reply, m.data, m.headers) for m in told] == heard


async def test_listener_that_raises_costs_its_message_only(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bytes] = []

    def arrived(_subject: str, _reply: str, body: bytes, _headers: object) -> None:
        if body == b"bad":
            raise ValueError("no such thing")
        heard.append(body)

    async with connected(nats_server) as client:
        await client.hear("a", arrived)
        for body in (b"1", b"bad", b"2"):
            client.send("a", body)
        await client.flush()

    assert heard == [b"1", b"2"]
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name == "callboard.connection"
    assert record.exc_info


async def test_nothing_arrives_after_the_end_of_a_subscription(nats_server: EmbeddedServer) -> None:
    heard: list[bytes] = []
    async with connected(nats_server) as client, connected(nats_server) as other:
        ended = await client.hear("a", lambda _s, _r, body, _h: heard.append(body))
        drained = await client.hear("a", lambda _s, _r, body, _h: heard.append(body))
        await client.flush()
        other.send("a", b"1")
        await other.flush()
        await ended.unsubscribe()
        await drained.drain()
        before = list(heard)
        other.send("a", b"2")
        await other.flush()
        await client.flush()

    assert before == heard
    assert b"1" in heard
    assert not client.hearing


@pytest.mark.parametrize(("subject", "reply"), [("", ""), ("a b", ""), ("a\r\nPING", ""), ("a", "b c"), ("a", " ")])
async def test_subject_cannot_change_the_protocol(nats_server: EmbeddedServer, subject: str, reply: str) -> None:
    async with connected(nats_server) as client:
        with pytest.raises(BadSubjectError):
            client.send(subject, b"x", reply=reply)
        await client.flush()


async def test_what_is_sent_while_disconnected_waits_or_is_refused(nats_server: EmbeddedServer) -> None:
    heard: list[int] = []
    client = NatsClient()
    await client.connect(
        nats_server.url,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.05,  # type: ignore[arg-type]
        pending_size=1000,
    )
    listener = await nats.connect(nats_server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.05)  # type: ignore[arg-type]
    try:

        async def arrived(message: Msg) -> None:
            heard.append(len(message.data))

        await listener.subscribe("a", cb=arrived)
        await listener.flush()
        nats_server.kill()
        await eventually(lambda: not client.is_connected and not listener.is_connected)
        client.send("a", bytes(500))
        with pytest.raises(OutboundBufferLimitError):
            client.send("a", bytes(500))
        await nats_server.restart()
        await eventually(lambda: client.is_connected and listener.is_connected)
        client.send("a", bytes(7))
        await eventually(lambda: 7 in heard)
    finally:
        await client.close()
        await listener.close()
    with pytest.raises(ConnectionClosedError):
        client.send("a")


async def test_sender_of_much_can_wait_for_the_network(nats_server: EmbeddedServer) -> None:
    async with connected(nats_server) as client:
        while not client.is_full:
            client.send("a", bytes(100_000))
        await client.written()
        assert not client.is_full
        await client.flush()


async def test_little_is_read_at_once_also_after_a_reconnection(nats_server: EmbeddedServer) -> None:
    def socket() -> Any:
        return client._transport._io_writer.transport  # type: ignore[union-attr]

    async with connected(nats_server) as client:
        former = socket()
        assert former.max_size == 64 * 1024
        nats_server.kill()
        await nats_server.restart()
        await eventually(lambda: client.is_connected and socket() is not former)
        assert socket().max_size == 64 * 1024
