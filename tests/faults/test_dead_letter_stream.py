"""While dead letters cannot be stored, nothing is given up."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

from time import monotonic
from typing import Any

import nats
import pytest
from attrs import define
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from callboard import Actor, command
from callboard.brokers.deadletter import DEAD_LETTER_PAUSE, DEAD_STREAM
from callboard.embedded import EmbeddedServer
from tests.faults.audit import Audit
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually
from tests.jetstream.service import durable_of, service

MESSAGES = 12
BAD = 4
"""Every so manieth message cannot be handled."""


@define
class Operator:
    """Takes the stream of dead letters away, or fills it, and undoes that."""

    js: JetStreamContext
    config: StreamConfig

    async def break_it(self, how: str) -> None:
        if how == "missing":
            await self.js.delete_stream(DEAD_STREAM)
        else:
            await self.js.update_stream(self.config.evolve(max_bytes=1))

    async def mend(self, how: str) -> None:
        await (self.js.add_stream(self.config) if how == "missing" else self.js.update_stream(self.config))


@pytest.mark.parametrize("how", ["missing", "full"])
async def test_nothing_is_terminated_without_its_letter(
    nats_server: EmbeddedServer, how: str, figures: Figures, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit("orders.place", "ORDERS")
    runs: list[float] = []
    """When the handler was run."""

    class Orders(Actor):
        retry = ()

        @command("orders.place")
        async def place(self, number: int) -> None:
            runs.append(monotonic())
            if number % BAD == 0:
                raise ValueError("cannot be handled")
            audit.effect(number)

    durable = durable_of(Orders, "orders.place")

    async with service(nats_server, Orders) as system, await nats.connect(nats_server.url) as client:
        js = client.jetstream()
        operator = Operator(js, (await js.stream_info(DEAD_STREAM)).config)
        await operator.break_it(how)
        for _ in range(MESSAGES):
            await audit.publish(system.board)
        await eventually(lambda: "cannot be stored" in caplog.text)
        floor = (await js.consumer_info("ORDERS", durable)).ack_floor
        await operator.mend(how)
        mended = monotonic()

        async def settled() -> bool:
            info: Any = await js.consumer_info("ORDERS", durable)
            return not info.num_pending and not info.num_ack_pending

        await eventually(settled, within=40)
        went_on = monotonic() - mended

    found = await audit.check(nats_server.url)
    paused = runs[BAD] - runs[BAD - 1]
    figures(
        "dead-letter stream missing or full",
        stream=how,
        **found,
        paused_s=paused,
        all_done_after_it_is_back_s=went_on,
    )
    assert floor is not None
    assert floor.stream_seq < BAD, "a message was given up without a letter"
    assert paused > DEAD_LETTER_PAUSE * 0.9
    assert found["dead_letters"] == MESSAGES // BAD
    assert len(audit.effects) == MESSAGES - MESSAGES // BAD
