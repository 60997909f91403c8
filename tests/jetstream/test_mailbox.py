"""A mailbox asks for what it has room for, survives the server, and hands back what has not begun."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import groupby

import pytest
from nats.js import JetStreamContext

from callboard import Actor, command
from callboard.actors import declaration_of
from callboard.brokers.intake import Lane
from callboard.brokers.transport import Topology
from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport, mailbox
from callboard.jetstream.adoption import DURABLE as ADOPTION
from callboard.system import System
from tests.jetstream.eventually import eventually
from tests.jetstream.frozen import frozen
from tests.jetstream.service import durable_of, service


async def publish_many(board: Board, topic: str, numbers: range) -> None:
    """Publish numbers in order."""
    for number in numbers:
        await board.publish(topic, number)


def only_mailbox(system: System) -> mailbox.JetStreamMailbox:
    """The one mailbox of a running system."""
    transport = system._transport
    assert isinstance(transport, JetStreamTransport)
    [found] = boxes(transport)
    return found


def boxes(transport: JetStreamTransport) -> list[mailbox.JetStreamMailbox]:
    """The mailboxes of actors on a transport."""
    return [box for box in transport._mailboxes if box.durable != ADOPTION]


async def unsettled(js: JetStreamContext, durable: str) -> int:
    """Messages of a durable that are handed over and not settled, as the server counts."""
    return (await js.consumer_info("WORK", durable)).num_ack_pending or 0


async def test_messages_arrive_in_stream_order(nats_server: EmbeddedServer) -> None:
    seen: list[int] = []

    class Worker(Actor):
        @command("work.do")
        async def do(self, number: int) -> None:
            seen.append(number)

    async with service(nats_server, Worker) as system:
        await publish_many(system.board, "work.do", range(300))
        await eventually(lambda: len(seen) >= 300)

    assert seen == list(range(300))


async def test_slow_actor_holds_no_more_than_it_can_run(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    running: set[int] = set()
    go_on = asyncio.Event()

    class Worker(Actor):
        concurrency = 4

        @command("work.do")
        async def do(self, number: int) -> None:
            running.add(number)
            await go_on.wait()

    async with service(nats_server, Worker) as system:
        await publish_many(system.board, "work.do", range(20))
        await eventually(lambda: len(running) == 4)

        assert await unsettled(js, durable_of(Worker, "work.do")) == 4
        assert running == {0, 1, 2, 3}

        go_on.set()
        await eventually(lambda: len(running) == 20)


async def test_slow_actor_that_was_fast_holds_no_more_than_its_window(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    seen: list[int] = []
    go_on = asyncio.Event()

    class Worker(Actor):
        concurrency = 2

        @command("work.do")
        async def do(self, number: int) -> None:
            seen.append(number)
            if number < 10:
                await asyncio.sleep(0.02)
            else:
                await go_on.wait()

    async with service(nats_server, Worker) as system:
        await publish_many(system.board, "work.do", range(200))
        await eventually(lambda: len(seen) >= 12)
        lane = only_mailbox(system)._lane
        assert lane is not None

        assert lane.window.size <= 10
        assert await unsettled(js, durable_of(Worker, "work.do")) <= 2 + lane.window.size + 2
        go_on.set()
        await eventually(lambda: len(seen) == 200)


async def test_burst_after_single_messages_fills_every_slot(nats_server: EmbeddedServer) -> None:
    running = 0
    go_on = asyncio.Event()

    class Worker(Actor):
        concurrency = 16

        @command("work.do")
        async def do(self, seconds: float) -> None:
            nonlocal running
            running += 1
            await (asyncio.sleep(seconds) if seconds else go_on.wait())
            running -= 1

    async with service(nats_server, Worker) as system:
        await asyncio.gather(*(system.board.publish("work.do", 1 + number / 20) for number in range(16)))
        await eventually(lambda: running == 16)
        await eventually(lambda: running == 0)

        await asyncio.gather(*(system.board.publish("work.do", 0) for _ in range(40)))

        await eventually(lambda: running == 16, within=5)
        go_on.set()
        await eventually(lambda: running == 0)


async def test_mailbox_resumes_within_two_seconds_of_the_server(nats_server: EmbeddedServer, board: Board) -> None:
    seen: list[int] = []

    class Worker(Actor):
        @command("work.do")
        async def do(self, number: int) -> None:
            seen.append(number)

    async with service(nats_server, Worker):
        await board.publish("work.do", 1)
        await eventually(lambda: 1 in seen)
        nats_server.kill()
        await nats_server.restart()
        back = time.monotonic()

        await board.publish("work.do", 2)
        await eventually(lambda: 2 in seen)

        assert time.monotonic() - back < 2


async def test_mailbox_pulls_again_when_the_server_was_frozen(
    nats_server: EmbeddedServer, js: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    class Worker(Actor):
        @command("work.do")
        async def do(self, number: int) -> None:
            seen.append(number)

    with caplog.at_level(logging.WARNING, "callboard.mailbox"):
        async with service(nats_server, Worker) as system:
            async with frozen(nats_server):
                await eventually(lambda: "no sign of life" in caplog.text)

            await publish_many(system.board, "work.do", range(20))
            await eventually(lambda: len(seen) == 20)
            await eventually(lambda: settled_all(js, durable_of(Worker, "work.do")))

    assert sorted(seen) == list(range(20))


async def settled_all(js: JetStreamContext, durable: str) -> bool:
    """Whether nothing of a durable waits or is on its way."""
    info = await js.consumer_info("WORK", durable)
    return not info.num_pending and not info.num_ack_pending


async def test_deleted_consumer_is_made_again_without_a_restart_of_the_actor(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    seen: list[int] = []
    starts: list[int] = []

    class Worker(Actor):
        async def on_start(self) -> None:
            starts.append(1)

        @command("work.do")
        async def do(self, number: int) -> None:
            seen.append(number)

    async with service(nats_server, Worker) as system:
        # A pull that meets the deletion on its way is dropped without a word: that takes 2.5 s without a heartbeat.
        await eventually(lambda: pulls(js, durable_of(Worker, "work.do")))
        await js.delete_consumer("WORK", durable_of(Worker, "work.do"))
        deleted = time.monotonic()

        await system.board.publish("work.do", 1)
        await eventually(lambda: 1 in seen)

        assert time.monotonic() - deleted < 2
    assert len(starts) == 1


async def pulls(js: JetStreamContext, durable: str) -> bool:
    """Whether a pull waits at the server."""
    return bool((await js.consumer_info("WORK", durable)).num_waiting)


async def test_attempts_are_kept_when_the_consumer_is_deleted(
    nats_server: EmbeddedServer, js: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[int] = []

    class Worker(Actor):
        @command("work.do", retry=(0.0, 0.0, 2.0))
        async def do(self, number: int) -> None:
            attempts.append(number)
            raise ValueError

    async with service(nats_server, Worker) as system:
        await system.board.publish("work.do", 1)
        await eventually(lambda: "attempt 3" in caplog.text)
        await js.delete_consumer("WORK", durable_of(Worker, "work.do"))

        await eventually(lambda: dead_letters(js, 1))

    assert len(attempts) == 4


async def test_durable_that_was_lost_goes_on_where_it_was(
    nats_server: EmbeddedServer, js: JetStreamContext, transport: JetStreamTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard.jetstream.transport.NOTE_PERIOD", 0.1)
    seen: list[int] = []

    class Worker(Actor):
        @command("work.do")
        async def do(self, number: int) -> None:
            seen.append(number)

    durable = durable_of(Worker, "work.do")

    async def floor() -> int | None:
        record = transport._topology.record
        return await record.floor("WORK", durable, (await stream_created(transport)))

    async with service(nats_server, Worker) as system:
        await publish_many(system.board, "work.do", range(5))
        await eventually(lambda: equals(floor, 5))
    await js.delete_consumer("WORK", durable)

    async with service(nats_server, Worker) as system:
        await system.board.publish("work.do", 5)
        await eventually(lambda: 5 in seen)

    assert seen == [0, 1, 2, 3, 4, 5]


async def stream_created(transport: JetStreamTransport) -> str:
    """The incarnation of the stream, as it is recorded."""
    recorded = await transport._topology.record.stream("WORK")
    return "" if recorded is None else recorded.incarnation


async def equals(read: Callable[[], Awaitable[object]], value: object) -> bool:
    """Whether something has a value by now."""
    return await read() == value


async def test_stream_that_vanishes_is_an_alarm_and_is_not_made_again(
    nats_server: EmbeddedServer, js: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    class Worker(Actor):
        @command("work.do")
        async def do(self, number: int) -> None:
            seen.append(number)

    async with service(nats_server, Worker) as system:
        assert system.ready
        config = (await js.stream_info("WORK")).config
        await js.delete_stream("WORK")
        await eventually(lambda: bool(system.alarms))
        assert not system.ready
        [alarm] = system.alarms.values()
        names = [info.config.name for info in await js.streams_info()]

        await js.add_stream(config)
        await eventually(lambda: system.ready)
        await system.board.publish("work.do", 1)
        await eventually(lambda: 1 in seen)

    assert "WORK" in alarm
    assert "WORK" not in names
    assert "stands still" in caplog.text


async def dead_letters(js: JetStreamContext, count: int) -> bool:
    """Whether so many messages were given up."""
    return (await js.stream_info("CALLBOARD_DEAD")).state.messages == count


async def test_consumer_deleted_while_every_slot_is_busy_is_noticed(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    seen: list[int] = []
    go_on = asyncio.Event()

    class Worker(Actor):
        @command("work.do")
        async def do(self, number: int) -> None:
            seen.append(number)
            await go_on.wait()

    async with service(nats_server, Worker) as system:
        await system.board.publish("work.do", 1)
        await eventually(lambda: seen == [1])
        await js.delete_consumer("WORK", durable_of(Worker, "work.do"))
        go_on.set()

        await system.board.publish("work.do", 2)
        await eventually(lambda: 2 in seen)


async def test_limit_of_an_operator_makes_pulls_smaller(
    nats_server: EmbeddedServer, transport: JetStreamTransport, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    class Worker(Actor):
        concurrency = 8

        @command("work.do")
        async def do(self, number: int) -> None:
            seen.append(number)

    (spec,) = [spec for _, spec in declaration_of(Worker).mailboxes("test")]
    await transport.prepare(Topology([spec], []))
    info = await transport._api.call(f"CONSUMER.INFO.WORK.{spec.durable}")
    request = {"stream_name": "WORK", "config": {**info["config"], "max_batch": 2}, "action": "update"}
    await transport._api.call(f"CONSUMER.CREATE.WORK.{spec.durable}", request)

    async with service(nats_server, Worker) as system:
        await publish_many(system.board, "work.do", range(20))
        await eventually(lambda: len(seen) == 20)

    assert "Exceeded MaxRequestBatch of 2" in caplog.text


async def test_pull_that_expires_is_followed_by_another(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "EXPIRES", 0.4)
    monkeypatch.setattr(mailbox, "HEARTBEAT", 0.2)
    seen: list[int] = []

    class Worker(Actor):
        concurrency = 8

        @command("work.do")
        async def do(self, number: int) -> None:
            seen.append(number)

    async with service(nats_server, Worker) as system:
        box = only_mailbox(system)
        await eventually(lambda: box._count >= 4)
        await eventually(lambda: box._owed == 8)

        await publish_many(system.board, "work.do", range(50))
        await eventually(lambda: len(seen) == 50)


async def test_draining_hands_waiting_messages_to_another_worker_at_once(
    nats_server: EmbeddedServer, transport: JetStreamTransport, board: Board
) -> None:
    class Worker(Actor):
        concurrency = 10

        @command("work.do")
        async def do(self, number: int) -> None: ...

    specs = [spec for _, spec in declaration_of(Worker).mailboxes("test")]
    await transport.prepare(Topology(specs, []))
    async with JetStreamTransport(ConnectionOptions((nats_server.url,))) as other:
        idle = transport.subscriber(specs)
        idle.intake.concurrency = 10
        await idle.setup()
        await publish_many(board, "work.do", range(10))
        await eventually(lambda: len(idle.intake.lanes[0].waiting) == 10)
        heir = other.subscriber(specs)
        heir.intake.concurrency = 10
        await heir.setup()
        begun = time.monotonic()

        await idle.drain()
        await eventually(lambda: len(heir.intake.lanes[0].waiting) == 10)

        assert time.monotonic() - begun < 1
        await idle.destroy()
        await heir.destroy()


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_handler_of_three_times_ack_wait_runs_once(
    nats_server: EmbeddedServer, js: JetStreamContext, kind: str
) -> None:
    runs: list[str] = []

    class Worker(Actor):
        ack_wait = 1.0

        @command("work.async")
        async def wait(self) -> None:
            runs.append("async")
            await asyncio.sleep(3.2)

        @command("work.thread")
        def block(self) -> None:
            runs.append("thread")
            time.sleep(3.2)

    async with service(nats_server, Worker) as system:
        await system.board.publish(f"work.{kind}")
        await eventually(lambda: len(runs) > 0)
        await eventually(lambda: settled_all(js, durable_of(Worker, f"work.{kind}")))

    assert runs == [kind]


async def test_message_that_waits_for_a_slot_keeps_its_lease(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    runs: list[str] = []
    go_on = asyncio.Event()

    class Worker(Actor):
        ack_wait = 1.0

        @command("work.first")
        async def first(self) -> None:
            runs.append("first")
            await go_on.wait()

        @command("work.second")
        async def second(self) -> None:
            runs.append("second")

    second = durable_of(Worker, "work.second")
    async with service(nats_server, Worker) as system:
        await system.board.publish("work.first")
        await eventually(lambda: runs == ["first"])
        await system.board.publish("work.second")
        await eventually(lambda: any(lane.waiting for lane in _lanes(system)))
        held = next(lane.waiting[0] for lane in _lanes(system) if lane.waiting)
        first_touch = held.touched
        await eventually(lambda: held.touched > first_touch + 2)
        go_on.set()
        await eventually(lambda: settled_all(js, second))
        info = await js.consumer_info("WORK", second)

    assert runs == ["first", "second"]
    assert info.delivered is not None
    assert info.delivered.consumer_seq == 1


def _lanes(system: System) -> list[Lane]:
    transport = system._transport
    assert isinstance(transport, JetStreamTransport)
    return [box._lane for box in boxes(transport) if box._lane is not None]


async def test_two_processes_share_messages_and_each_runs_once(nats_server: EmbeddedServer, board: Board) -> None:
    runs: Counter[int] = Counter()
    by: Counter[str] = Counter()

    def worker(place: str) -> type[Actor]:
        class Worker(Actor):
            concurrency = 4

            @command("work.do")
            async def do(self, number: int) -> None:
                runs[number] += 1
                by[place] += 1
                await asyncio.sleep(0.01)

        return Worker

    async with service(nats_server, worker("here")), service(nats_server, worker("there")):
        await publish_many(board, "work.do", range(200))
        await eventually(lambda: sum(runs.values()) >= 200)

    assert runs == Counter(range(200))
    assert set(by) == {"here", "there"}


async def test_mailboxes_of_an_actor_take_turns(nats_server: EmbeddedServer) -> None:
    turns: list[str] = []
    go_on = asyncio.Event()

    class Worker(Actor):
        @command("work.gate")
        async def gate(self) -> None:
            await go_on.wait()

        @command("work.a")
        async def a(self) -> None:
            turns.append("a")
            await asyncio.sleep(0.01)

        @command("work.b")
        async def b(self) -> None:
            turns.append("b")
            await asyncio.sleep(0.01)

    async with service(nats_server, Worker) as system:
        await system.board.publish("work.gate")
        for _ in range(30):
            await system.board.publish("work.a")
        for _ in range(30):
            await system.board.publish("work.b")
        await eventually(lambda: sum(len(lane.waiting) for lane in _lanes(system)) >= 2)
        go_on.set()
        await eventually(lambda: len(turns) == 60)

    longest = max(len(list(group)) for _, group in groupby(turns[:40]))
    assert longest <= 3


async def test_narrowed_handler_runs_less_at_once_and_leaves_slots_to_others(nats_server: EmbeddedServer) -> None:
    running: Counter[str] = Counter()
    go_on = asyncio.Event()

    class Worker(Actor):
        concurrency = 4

        @command("work.narrow", concurrency=1)
        async def narrow(self) -> None:
            running["narrow"] += 1
            await go_on.wait()

        @command("work.wide")
        async def wide(self) -> None:
            running["wide"] += 1
            await go_on.wait()

    async with service(nats_server, Worker) as system:
        for _ in range(5):
            await system.board.publish("work.narrow")
        await eventually(lambda: running["narrow"] == 1)
        for _ in range(5):
            await system.board.publish("work.wide")

        await eventually(lambda: running["wide"] == 3)
        assert running["narrow"] == 1
        go_on.set()
        await eventually(lambda: running == Counter(narrow=5, wide=5))
