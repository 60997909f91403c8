"""A handler's life under the seed's names, and its port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from callboard import ActorCrash, BrokerMessage, BrokerPublisher, command
from callboard.brokers import wire
from callboard.errors import ClosedError
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.handler import BrokerHandler
from callboard.routing.port import BrokerHandlerService, BrokerPort
from tests.unit.routing.bench import INBOX, Bench, declared
from tests.unit.routing.loopback import LoopbackTransport


class Kept(BrokerPublisher):
    """Keeps what is sent, and how often it was set up and destroyed."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[BrokerMessage] = []
        self.life: list[str] = []

    async def _send(self, message: BrokerMessage) -> None:
        wire.encode(message)
        self.messages.append(message)

    async def _setup(self) -> None:
        self.life.append("setup")

    async def _destroy(self) -> None:
        self.life.append("destroy")


@command("orders.place", retry=())
async def echo(content: Any) -> Any:
    if content == "crash":
        raise ActorCrash("on fire")
    return object() if content == "odd" else content


class Counted(BrokerHandler):
    """Writes down what is called, and what it raised."""

    def __init__(self, transport: LoopbackTransport, publisher: BrokerPublisher | None = None) -> None:
        actions = declared(echo)
        super().__init__(BrokerDispatcher(actions, publisher), transport.subscriber([actions[0].mailbox("bench")]), 1)
        self.calls: list[str] = []

    async def setup(self) -> None:
        self.calls.append("setup")
        await super().setup()

    async def run(self) -> None:
        self.calls.append("run")
        await super().run()

    async def destroy(self) -> None:
        self.calls.append("destroy")
        await super().destroy()


@asynccontextmanager
async def running(handler: BrokerHandler) -> AsyncGenerator[asyncio.Task[None]]:
    task = asyncio.create_task(handler.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_run_starts_the_handler_and_ends_when_it_is_stopped(transport: LoopbackTransport) -> None:
    handler = Counted(transport)
    async with running(handler) as task:
        assert await transport.put("orders.place", 1).ended() == "ack"
        await handler.destroy()
        await task


async def test_cancelled_run_stops_the_handler(transport: LoopbackTransport) -> None:
    async with running(Counted(transport)) as task:
        assert await transport.put("orders.place", 1).ended() == "ack"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        transport.put("orders.place", 2)

    assert transport.waiting == [2]


async def test_run_raises_what_crashed_the_handler_once_it_is_stopped(transport: LoopbackTransport) -> None:
    async with running(Counted(transport)) as task:
        entry = transport.put("orders.place", "crash")
        with pytest.raises(ActorCrash, match="on fire"):
            await task

    assert (set(transport.journal), entry.end) == ({"nak 1"}, "")


async def test_setup_twice_opens_once_and_a_stopped_handler_stays_stopped(transport: LoopbackTransport) -> None:
    handler = Counted(transport)
    async with handler:
        await asyncio.gather(handler.setup(), handler.setup())
        assert await transport.put("orders.place", 1).ended() == "ack"
    await handler.destroy()

    with pytest.raises(ClosedError, match="Counted is closed"):
        await handler.setup()


async def test_handler_that_cannot_start_leaves_nothing_running(transport: LoopbackTransport) -> None:
    class Broken(Kept):
        async def _setup(self) -> None:
            raise ConnectionError("no server")

    before = asyncio.all_tasks()
    handler = Counted(transport, Broken())
    with pytest.raises(ConnectionError):
        await handler.setup()

    assert asyncio.all_tasks() == before
    with pytest.raises(ClosedError):
        await handler.run()


async def test_replies_to_topics_go_out_through_the_publisher(transport: LoopbackTransport) -> None:
    publisher = Kept()
    async with Counted(transport, publisher):
        await transport.put("orders.place", 1, reply_topic="orders.answers", headers={"tenant": "a"}).ended()
        await transport.put("orders.place", 2, reply_topic=INBOX).ended()
        await transport.put("orders.place", "odd", reply_topic="orders.answers").ended()

    good, bad = publisher.messages
    assert (good.topic, good.content, good.headers) == ("orders.answers", 1, {"tenant": "a"})
    assert bad.status == 500
    assert transport.published == []
    assert [frame.topic for frame in transport.replies] == [INBOX]


async def test_publisher_that_nobody_set_up_lives_with_the_handler(transport: LoopbackTransport) -> None:
    publisher = Kept()
    async with Counted(transport, publisher):
        assert publisher.is_ready()

    assert publisher.life == ["setup", "destroy"]


async def test_publisher_of_somebody_else_is_left_to_them(transport: LoopbackTransport) -> None:
    async with Kept() as publisher:
        async with Counted(transport, publisher):
            pass
        assert publisher.life == ["setup"]


async def test_dispatcher_that_raises_for_one_message_does_not_end_the_loop(transport: LoopbackTransport) -> None:
    """C39."""
    async with Bench(transport, echo) as bench:
        find = bench.dispatcher.action_for
        failures = iter([KeyError("broken")])

        def action_for(delivery: Any) -> Any:
            for failure in failures:
                raise failure
            return find(delivery)

        bench.dispatcher.action_for = action_for  # type: ignore[method-assign]
        transport.put("orders.place", 1)
        assert await transport.put("orders.place", 2).ended() == "ack"


# The port


async def test_port_sets_up_and_runs_its_handler_once_and_destroys_it_once(transport: LoopbackTransport) -> None:
    """C41."""
    handler = Counted(transport)
    port = BrokerPort(handler)
    assert port.handler is handler

    await port.start()
    assert await transport.put("orders.place", 1).ended() == "ack"
    await port.start()
    await port.stop()

    assert handler.calls == ["setup", "run", "destroy"]


async def test_port_works_with_async_with_and_under_the_seeds_names(transport: LoopbackTransport) -> None:
    async with BrokerPort(Counted(transport)):
        assert await transport.put("orders.place", 1).ended() == "ack"
    port = BrokerPort(Counted(transport))
    await port._start()  # pyright: ignore[reportPrivateUsage]
    assert await transport.put("orders.place", 1).ended() == "ack"
    await port._stop()  # pyright: ignore[reportPrivateUsage]


async def test_port_logs_and_raises_what_keeps_its_handler_from_starting(
    transport: LoopbackTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """C41."""

    class Broken(Counted):
        async def setup(self) -> None:
            raise ConnectionError("no server")

    port = BrokerPort(Broken(transport))
    with pytest.raises(ConnectionError):
        await port.start()
    await port.stop()

    assert "the handler did not start" in caplog.text


async def test_port_logs_a_crash_at_once_and_raises_it_when_it_is_stopped(
    transport: LoopbackTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """C41."""
    handler = Counted(transport)
    port = BrokerPort(handler)
    await port.start()
    transport.put("orders.place", "crash")
    with pytest.raises(ActorCrash):
        await handler.wait()
    with pytest.raises(ActorCrash, match="on fire"):
        await port.stop(RuntimeError("shutting down"))

    assert "the handler crashed" in caplog.text
    assert "stopping because of RuntimeError: shutting down" in caplog.text


async def test_port_that_was_never_started_stops(transport: LoopbackTransport) -> None:
    port = BrokerPort(Counted(transport))
    await port.stop()
    with pytest.raises(ClosedError):
        await port.start()


async def test_former_name_of_the_port_warns(transport: LoopbackTransport) -> None:
    """C41."""
    with pytest.warns(DeprecationWarning, match="BrokerPort"):
        service = BrokerHandlerService(Counted(transport))
    async with service:
        assert await transport.put("orders.place", 1).ended() == "ack"
