"""`callboard mailboxes`, `pause` and `resume`, on a running service and without one."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
import termios
from typing import Any

import pytest

import callboard as library
from tests.cli.command import CommandLine
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")


async def seen(served: CommandLine, topic: str) -> dict[str, Any]:
    """What the command says of one mailbox."""
    shown = await served("mailboxes", "--json")
    assert (shown.code, shown.err) == (0, "")
    (mailbox,) = [each for each in json.loads(shown.out)["mailboxes"] if each["topics"] == [topic]]
    return mailbox  # type: ignore[no-any-return]


async def test_nothing_is_there_on_a_new_server(served: CommandLine) -> None:
    shown = await served("mailboxes")
    assert (shown.code, shown.out) == (0, "no mailboxes\n")
    paused = await served("pause", "Orders")
    assert paused.code == 2
    assert "no actor 'Orders' has a mailbox on this server (known: none)" in paused.err


async def test_states_lag_and_progress_of_a_service(served: CommandLine) -> None:
    running = await served.run("svc")
    await running.worker()
    idle = await seen(served, "orders.add")
    assert (idle["actor"], idle["kind"], idle["lag"], idle["in_progress"]) == ("Orders", "query", 0, 0)
    assert (idle["state"], idle["oldest"], idle["redelivered"]) == ("idle", 0.0, 0)

    async with library.connect(served.environment["NATS_URL"]) as board:
        for number in range(6):
            await board.publish("orders.slow", f"job{number}")
    for number in range(4):
        await running.exists(f"job{number}.begun")
    slow = await seen(served, "orders.slow")
    assert slow["state"] == "working"
    assert slow["in_progress"] >= 4
    assert slow["lag"] + slow["in_progress"] == 6
    assert slow["oldest"] > 0

    table = (await served("mailboxes", "--actor", "Orders")).out.splitlines()
    assert table[0].split() == [
        "SERVICE",
        "ACTOR",
        "TOPIC",
        "LAG",
        "IN",
        "PROGRESS",
        "REDELIVERED",
        "OLDEST",
        "RATE",
        "STATE",
    ]
    assert len(table) == 5
    (running.folder / "go").touch()
    await running.exists("job5.done")
    running.signal(signal.SIGTERM)
    await running.ended()

    assert (await seen(served, "orders.slow"))["state"] == "nobody"


async def test_paused_actor_gets_nothing_until_it_is_resumed(served: CommandLine) -> None:
    running = await served.run("svc")
    await running.worker()
    paused = await served("pause", "Orders")
    assert paused.code == 0
    assert len(paused.out.splitlines()) == 4
    assert "paused orders.add (" in paused.out
    assert (await seen(served, "orders.add"))["state"] == "paused"

    async with library.connect(served.environment["NATS_URL"]) as board:
        asking = asyncio.create_task(board.request("orders.add", [1, 2], timeout=30))
        await asyncio.wait({asking}, timeout=1.0)
        assert not asking.done()
        assert (await seen(served, "orders.add"))["lag"] == 1
        resumed = await served("resume", "Orders")
        assert (resumed.code, len(resumed.out.splitlines())) == (0, 4)
        assert await asking == 3


async def test_pause_may_end_by_itself_and_is_shown_with_its_time(served: CommandLine) -> None:
    running = await served.run("svc")
    await running.worker()
    assert (await served("pause", "Orders", "--for", "1h")).code == 0
    mailbox = await seen(served, "orders.add")
    assert 3500 < mailbox["paused_for"] <= 3600
    assert "paused for 60m" in (await served("mailboxes")).out
    assert (await served("pause", "Orders", "--for", "soon")).code == 2
    assert (await served("pause", "Ordres")).err.count("did you mean 'Orders'") == 1


async def test_watching_redraws_the_screen_until_ctrl_c(served: CommandLine) -> None:
    running = await served.run("svc")
    await running.worker()
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (30, 160))
    watching = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "callboard", "mailboxes", "--watch", "--every", "0.2"),
        env={**served.environment, "TERM": "xterm"},
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    drawn = bytearray()
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: drawn.extend(os.read(ours, 65536)))
    try:
        await eventually(lambda: drawn.count(b"orders.slow") >= 2, within=30)
        assert b"working" not in drawn
        async with library.connect(served.environment["NATS_URL"]) as board:
            await board.publish("orders.slow", "job")
        await eventually(lambda: b"working" in drawn, within=30)
        watching.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(watching.wait(), 30) == 130
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        if watching.returncode is None:
            watching.kill()
            await watching.wait()
    assert b"Traceback" not in drawn
    assert drawn.index(b"\x1b[?1049h") < drawn.index(b"orders.slow")  # on a screen of its own, which is left again:
    assert drawn.rindex(b"\x1b[?1049l") > drawn.rindex(b"orders.slow")
