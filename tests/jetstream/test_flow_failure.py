"""Failing handlers: attempts, dead letters, repeated outputs, timeouts."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

import asyncio
import json

from nats.aio.client import Client
from nats.js import JetStreamContext

from callboard import (
    Actor,
    command,
)
from callboard.embedded import EmbeddedServer
from callboard.message import BrokerMessage
from tests.jetstream.eventually import eventually
from tests.jetstream.orders import Order, dead_letters, done_with, has_letters
from tests.jetstream.service import durable_of, service


async def test_message_that_always_fails_is_dead_lettered_with_everything_needed(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    failures: list[str] = []

    class Orders(Actor):
        retry = (0.0, 0.05)

        @command("orders.place")
        async def place(self, order: Order) -> None:
            raise ValueError(f"cannot place {order.item}")

        async def on_failure(self, error: BaseException, message: BrokerMessage) -> None:
            failures.append(f"{error} {message.topic}")

    async with service(nats_server, Orders) as system:
        receipt = await system.board.publish("orders.place", Order("nut"), headers={"shelf": "3"})
        await eventually(lambda: has_letters(js, 1))
        await eventually(lambda: done_with(js, Orders, "orders.place"))

    (letter,) = await dead_letters(js)
    assert letter.subject == f"_callboard.dead.{durable_of(Orders, 'orders.place')}"
    assert json.loads(letter.data) == {"item": "nut", "count": 1}
    headers = letter.headers
    assert headers["Callboard-Origin-shelf"] == "3"
    assert headers["Callboard-Origin-Callboard-Id"] == receipt.identifier
    assert headers["Callboard-Dead-Attempts"] == "3"
    assert headers["Callboard-Dead-Topic"] == "orders.place"
    assert headers["Callboard-Dead-Stream"] == "ORDERS"
    assert headers["Callboard-Dead-Sequence"] == str(receipt.sequence)
    assert headers["Callboard-Dead-Error-Type"] == "ValueError"
    assert json.loads(headers["Callboard-Dead-Error-Message"]) == "cannot place nut"
    traceback = json.loads(headers["Callboard-Dead-Traceback"])
    assert "in place" in traceback
    assert "ValueError: cannot place nut" in traceback
    assert failures == ["cannot place nut orders.place"] * 3


async def test_largest_message_and_longest_reason_still_make_a_dead_letter(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    class Orders(Actor):
        retry = ()

        @command("orders.place")
        async def place(self, text: str) -> None:
            raise ValueError("y" * 100_000)

    text = "x" * (1024 * 1024 - 8192 - 400)
    async with service(nats_server, Orders) as system:
        await system.board.publish("orders.place", text)
        await eventually(lambda: has_letters(js, 1))

    (letter,) = await dead_letters(js)
    assert json.loads(letter.data) == text
    assert letter.headers["Callboard-Dead-Error-Type"] == "ValueError"


async def test_poison_message_stops_nobody(nats_server: EmbeddedServer, client: Client, js: JetStreamContext) -> None:
    seen: list[Order] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self, order: Order) -> None:
            seen.append(order)

    poison: list[tuple[bytes, dict[str, str] | None]] = [
        (b"\xff\xfe", None),
        (b"{}", {"Content-Type": "text/html"}),
        (b"{}", {"Callboard-Status": "fine"}),
        (b"[]", {"Callboard-Id": "no uuid", "Callboard-Deadline": "soon"}),
        (b"{}", {"Callboard-Reply-Topic": "wild.*", "Callboard-Version": "x"}),
    ]
    async with service(nats_server, Orders):
        for body, headers in poison:
            await client.publish("orders.place", body, headers=headers)
        await client.publish("orders.place", b'{"item": "nut"}')
        await eventually(lambda: len(seen) == 1)
        await eventually(lambda: done_with(js, Orders, "orders.place"))

    letters = await dead_letters(js)
    assert [letter.headers["Callboard-Dead-Sequence"] for letter in letters] == ["1", "2", "3", "4", "5"]


async def test_answer_that_its_topic_cannot_take_is_dead_lettered_and_nothing_runs_again(
    nats_server: EmbeddedServer, client: Client, js: JetStreamContext
) -> None:
    runs: list[int] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self) -> int:
            runs.append(1)
            return 1

    async with service(nats_server, Orders):
        for topic in ("wild.*", "no.stream.there"):
            await client.publish("orders.place", b"", headers={"Callboard-Reply-Topic": topic})
        await eventually(lambda: has_letters(js, 2))
        await eventually(lambda: done_with(js, Orders, "orders.place"))

    assert len(runs) == 2


async def test_attempts_survive_a_restart_of_the_service(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    attempts: list[str] = []

    def actor(life: str) -> type[Actor]:
        class Orders(Actor):
            retry = (0.0, 1.5, 0.0)

            @command("orders.place")
            async def place(self) -> None:
                attempts.append(life)
                raise ValueError("never")

        return Orders

    async with service(nats_server, actor("first")) as system:
        await system.board.publish("orders.place")
        await eventually(lambda: len(attempts) == 2)
    async with service(nats_server, actor("second")):
        await eventually(lambda: has_letters(js, 1))

    (letter,) = await dead_letters(js)
    assert attempts == ["first", "first", "second", "second"]
    assert letter.headers["Callboard-Dead-Attempts"] == "4"


async def test_repeated_attempt_publishes_nothing_twice(nats_server: EmbeddedServer, js: JetStreamContext) -> None:
    runs: list[int] = []

    class Orders(Actor):
        retry = (0.0, 0.0)
        publishes = {"placed.order": int}

        @command("orders.place")
        async def place(self) -> None:
            for number in (1, 1, 2):
                await self.publish("placed.order", number)
            runs.append(1)
            if len(runs) < 3:
                raise ValueError("too early")

    async with service(nats_server, Orders) as system:
        await system.board.publish("orders.place")
        await eventually(lambda: done_with(js, Orders, "orders.place"))
        await eventually(lambda: len(runs) == 3)

    stored = [await js.get_msg("PLACED", sequence) for sequence in (1, 2, 3)]
    assert (await js.stream_info("PLACED")).state.messages == 3
    assert [message.data for message in stored] == [b"1", b"1", b"2"]


async def test_handler_past_its_timeout_is_cancelled_and_the_slot_goes_on(
    nats_server: EmbeddedServer, js: JetStreamContext
) -> None:
    ended: list[str] = []

    class Orders(Actor):
        retry = ()
        timeout = 0.2

        @command("orders.place")
        async def place(self, how: str) -> None:
            try:
                if how not in {"quick", "cancel itself"}:
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                if how == "raise":
                    raise
                if how == "other":
                    raise ValueError("while cancelled") from None
            finally:
                ended.append(how)
            if how == "cancel itself":
                raise asyncio.CancelledError

    order = ["raise", "swallow", "other", "cancel itself", "raise", "quick"]
    async with service(nats_server, Orders) as system:
        for how in order:
            await system.board.publish("orders.place", how)
        await eventually(lambda: ended == order)
        await eventually(lambda: done_with(js, Orders, "orders.place"))

    kinds = [letter.headers["Callboard-Dead-Error-Type"] for letter in await dead_letters(js)]
    assert kinds == ["HandlerTimeoutError", "ValueError", "CancelledError", "HandlerTimeoutError"]


async def test_order_is_the_stream_order_with_one_slot(nats_server: EmbeddedServer) -> None:
    begun: list[int] = []

    class Orders(Actor):
        @command("orders.place")
        async def place(self, number: int) -> None:
            begun.append(number)
            await asyncio.sleep(0.002 * (number % 3))

    async with service(nats_server, Orders) as system:
        receipts = await asyncio.gather(*(system.board.publish("orders.place", number) for number in range(100)))
        await eventually(lambda: len(begun) == 100)

    assert begun == sorted(range(100), key=lambda number: receipts[number].sequence)
