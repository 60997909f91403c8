"""The command does what its help says, ends with the right code, and leaves nothing behind."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator

import nats
import pytest
from nats.js import JetStreamContext

from callboard.embedded import EmbeddedServer
from tests.cli.command import CommandLine, Running
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")


@pytest.fixture
async def js(nats_server: EmbeddedServer) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(nats_server.url, allow_reconnect=False)
    yield client.jetstream()
    await client.close()


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie that nobody reaps has)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def refused(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def one_line(err: str) -> str:
    """The only line of standard error."""
    lines = err.splitlines()
    assert len(lines) == 1, err
    return lines[0]


# Sending


async def test_run_request_and_publish(served: CommandLine, js: JetStreamContext) -> None:
    running = await served.run("svc")
    await running.worker()

    asked, headers, published = await asyncio.gather(
        served("request", "orders.add", "[1, 2, 3]"),
        served("request", "orders.headers", "--header", "user=ann", "-H", "note=a=b"),
        served("publish", "orders.noted", "-", stdin=b'{"x": "\xc3\xa9"}'),
    )

    assert (asked.code, asked.out, asked.err) == (0, "6\n", "")
    assert json.loads(headers.out) == {"user": "ann", "note": "a=b"}
    assert (published.code, published.err) == (0, "")
    assert "orders.noted stored in ORDERS as message" in published.out
    stored = await js.get_last_msg("ORDERS", "orders.noted")
    assert json.loads(stored.data or b"") == {"x": "é"}


async def test_exit_codes_of_answers_that_are_none(served: CommandLine) -> None:
    running = await served.run("svc")
    await running.worker()

    refusal, malformed, late, nobody, streamless, unstored = await asyncio.gather(
        served("request", "orders.refuse"),
        served("request", "orders.add", '["x"]'),
        served("request", "orders.slow", '"late"', "--timeout", "0.5"),
        served("request", "orders.unknown"),
        served("request", "elsewhere.add"),
        served("publish", "elsewhere.add"),
    )

    assert refusal.code == 1
    assert json.loads(refusal.out)["error"]["message"] == "no nuts left"
    assert "409" in one_line(refusal.err)
    assert malformed.code == 1
    assert "400" in one_line(malformed.err)
    assert late.code == 4
    assert "within 0.5 s; the outcome is unknown" in one_line(late.err)
    for result in (nobody, streamless, unstored):
        assert result.code == 5
        one_line(result.err)
    assert "no service handles 'orders.unknown'" in nobody.err
    assert "no stream holds the topic 'elsewhere.add'" in unstored.err


BAD_INPUT: list[tuple[tuple[str, ...], bytes, str]] = [
    (("publish", "orders.add", "{no json"), b"", "no JSON"),
    (("publish", "orders.add", "-"), b"\xff\xfe", "no JSON"),
    (("publish", "orders.add", "-"), b"", "no JSON"),
    (("publish", "orders. add", "1"), b"", "white space"),
    (("publish", "orders.*", "1"), b"", "wildcards"),
    (("request", "orders.>", "1"), b"", "wildcards"),
    (("publish", "orders..add", "1"), b"", "empty token"),
    (("publish", "_INBOX.x", "1"), b"", "belong to the system"),
    (("publish", "orders.add", "-"), b'"' + b"x" * 1024 * 1024 + b'"', "limit is 1040384"),
    (("publish", "orders.add", "1", "--header", "user"), b"", "name=value"),
    (("publish", "orders.add", "1", "--header", "Nats-Msg-Id=1"), b"", "Nats-Msg-Id"),
    (("request", "orders.add", "1", "--timeout", "0"), b"", "--timeout"),
    (("request",), b"", "TOPIC"),
    (("reqest", "orders.add"), b"", "reqest"),
    (("publish", "orders.add", "1", "--heder", "a=b"), b"", "--heder"),
]


async def test_bad_input_is_one_line_and_nothing_is_published(served: CommandLine, js: JetStreamContext) -> None:
    await js.add_stream(name="EVERYTHING", subjects=["orders.>", "orders"])
    turn = asyncio.Semaphore(4)

    async def check(arguments: tuple[str, ...], stdin: bytes, text: str) -> None:
        async with turn:
            result = await served(*arguments, stdin=stdin, PYTHONIOENCODING="utf-8:strict")
        assert result.code == 2, (arguments, result)
        assert result.out == ""
        assert text in one_line(result.err), arguments

    await asyncio.gather(*(check(*case) for case in BAD_INPUT))

    assert (await js.stream_info("EVERYTHING")).state.messages == 0


async def test_without_a_server_the_way_to_one_is_told(callboard: CommandLine) -> None:
    address = f"nats://ann:secret@127.0.0.1:{free_port()}"

    results = await asyncio.gather(
        callboard("publish", "orders.add", "1", "--nats", address),
        callboard("request", "orders.add", "1", NATS_URL=address),
    )

    for result in results:
        assert result.code == 3
        line = one_line(result.err)
        assert address.replace("ann:secret@", "") in line
        assert "--embedded" in line
        assert "NATS_URL" in line
        assert "secret" not in line


async def test_version_and_help(callboard: CommandLine) -> None:
    version, listing = await asyncio.gather(callboard("--version"), callboard("--help"))

    assert (version.code, version.out.split()[0]) == (0, "callboard")
    assert listing.code == 0
    assert all(name in listing.out for name in ("run", "publish", "request"))


# Running


BAD_RUNS: list[tuple[tuple[str, ...], str]] = [
    (("nowhere",), "no module named 'nowhere'"),
    (("svc:Plain",), "'Plain' is no actor"),
    (("svc:Order",), "did you mean 'Orders'?"),
    (("empty",), "holds no actors"),
    (("broken",), "ZeroDivisionError"),
    (("misdeclared",), "did you mean 'concurrency'?"),
    (("svc", "--store", "x"), "--embedded"),
    (("svc", "--config", "missing.yaml"), "missing.yaml"),
    (("svc", "--log-level", "loud"), "loud"),
    (("svc", "--grace", "x"), "--grace"),
    ((), "TARGET"),
]


async def test_what_cannot_be_run_is_one_line(served: CommandLine) -> None:
    (served.folder / "empty.py").write_text("x = 1\n")
    (served.folder / "broken.py").write_text("1 / 0\n")
    text = "from callboard import Actor\nclass A(Actor):\n    concurency = 4\n"
    (served.folder / "misdeclared.py").write_text(text)
    turn = asyncio.Semaphore(3)

    async def check(arguments: tuple[str, ...], text: str) -> None:
        async with turn:
            result = await served("run", *arguments)
        assert result.code == 2, (arguments, result)
        assert text in one_line(result.err), arguments

    await asyncio.gather(*(check(*case) for case in BAD_RUNS))


async def test_run_without_a_server_is_one_line_with_the_way_to_one(callboard: CommandLine) -> None:
    address = f"nats://127.0.0.1:{free_port()}"

    result = await callboard("run", "svc", "--nats", address)

    assert result.code == 3
    line = one_line(result.err)
    assert address in line
    assert "--embedded" in line
    assert "NATS_URL" in line


async def test_run_that_contradicts_the_server_is_one_line(served: CommandLine, js: JetStreamContext) -> None:
    await js.add_stream(name="ORDERS", subjects=["elsewhere"])

    result = await served("run", "svc")

    assert result.code == 5
    assert "'ORDERS'" in one_line(result.err)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_drains_and_ends_with_zero(
    served: CommandLine, js: JetStreamContext, number: signal.Signals
) -> None:
    running = await served.run("svc")
    worker = await running.worker()
    await served("publish", "orders.slow", '"first"')
    await running.exists("first.begun")

    running.signal(number)
    await running.says("stopping")
    (running.folder / "go").touch()

    assert await running.ended() == 0
    assert (running.folder / "first.done").exists()
    assert gone(worker)
    (consumer,) = [info for info in await js.consumers_info("ORDERS") if "slow" in info.name]
    assert (consumer.num_ack_pending, consumer.num_pending) == (0, 0)
    assert "Traceback" not in running.text


async def test_second_signal_shortens_the_grace_period(served: CommandLine) -> None:
    running = await served.run("svc", "--grace", "300")
    worker = await running.worker()
    await served("publish", "orders.slow", '"first"')
    await running.exists("first.begun")

    running.signal(signal.SIGTERM)
    await running.says("stopping")
    begun = time.monotonic()
    running.signal(signal.SIGTERM)

    await running.ended()
    assert time.monotonic() - begun < 15
    assert gone(worker)


async def test_grace_period_ends_a_handler_that_does_not(served: CommandLine) -> None:
    running = await served.run("svc", "--grace", "1")
    worker = await running.worker()
    await served("publish", "orders.slow", '"first"')
    await running.exists("first.begun")
    begun = time.monotonic()

    running.signal(signal.SIGTERM)

    assert await running.ended() == 0
    assert time.monotonic() - begun < 6
    assert gone(worker)
    assert not (running.folder / "first.done").exists()


async def test_signal_before_the_worker_is_ready_ends_with_zero(served: CommandLine) -> None:
    running = await served.run("svc")
    await eventually(lambda: running.process.returncode is not None or bool(_children(running.process.pid)))

    running.signal(signal.SIGTERM)

    assert await running.ended() == 0


def _children(pid: int) -> list[int]:
    """Processes that a process has started (Linux; nothing elsewhere)."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as children:  # noqa: PTH123
            return [int(child) for child in children.read().split()]
    except FileNotFoundError:
        return [0]


async def test_killed_worker_is_replaced(served: CommandLine) -> None:
    running = await served.run("svc")
    first = await running.worker()

    os.kill(first, signal.SIGKILL)
    await running.says("was killed by SIGKILL")
    second = await running.worker(2)

    assert second != first
    assert (await served("request", "orders.add", "[1]")).out == "1\n"
    running.signal(signal.SIGTERM)
    assert await running.ended() == 0
    assert gone(second)


async def test_killed_parent_leaves_neither_worker_nor_server(callboard: CommandLine) -> None:
    port = free_port()
    running = await callboard.run("svc", "--embedded", "--port", str(port))
    worker = await running.worker()
    assert not refused(port)

    running.signal(signal.SIGKILL)
    await running.ended()

    await eventually(lambda: gone(worker))
    await eventually(lambda: refused(port))
    await running.says("the parent process is gone")


async def test_several_workers_are_all_ready_and_all_stopped(served: CommandLine) -> None:
    running = await served.run("svc", "--workers", "2")
    workers = [await running.worker(number) for number in (1, 2)]

    running.signal(signal.SIGTERM)

    assert await running.ended() == 0
    assert all(gone(worker) for worker in workers)


async def test_embedded_store_keeps_messages(callboard: CommandLine) -> None:
    port = free_port()
    arguments = ("svc", "--embedded", "--port", str(port), "--store", "data")
    callboard.environment["NATS_URL"] = f"nats://127.0.0.1:{port}"
    running = await callboard.run(*arguments)
    await running.worker()
    stored = await callboard("publish", "orders.noted", "1")
    assert "as message 1" in stored.out
    await stop(running, port)

    running = await callboard.run(*arguments)
    await running.worker()
    again = await callboard("publish", "orders.noted", "2")

    assert "as message 2" in again.out
    await stop(running, port)


async def stop(running: Running, port: int) -> None:
    running.signal(signal.SIGTERM)
    assert await running.ended() == 0
    assert refused(port)


async def test_embedded_server_that_dies_ends_the_run(callboard: CommandLine) -> None:
    port = free_port()
    running = await callboard.run("svc", "--embedded", "--port", str(port), "--store", "data", "--grace", "2")
    worker = await running.worker()
    pids = [path.name for path in (callboard.folder / "data").glob("nats-server_*.ports")]
    assert pids, sorted((callboard.folder / "data").iterdir())
    os.kill(int(pids[0].removeprefix("nats-server_").removesuffix(".ports")), signal.SIGKILL)

    assert await running.ended() == 3
    assert gone(worker)


async def test_port_in_use_is_one_line(callboard: CommandLine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = await callboard("run", "svc", "--embedded", "--port", str(port))

    assert result.code != 0
    assert str(port) in one_line(result.err)
