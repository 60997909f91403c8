"""Handlers whose output stream has no leader wait for it; their messages pay nothing for that."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections import Counter
from time import monotonic

import pytest

from callboard import Actor, PublishUnknownError, command
from callboard.config import Config
from callboard.supervision import Supervisor
from callboard.system import System
from tests.faults.audit import Audit, read_stream
from tests.faults.cluster import Cluster
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually

MESSAGES = 40


@pytest.mark.timeout(120)
async def test_output_without_a_leader_costs_no_attempt(cluster: Cluster, figures: Figures) -> None:
    """The outputs have one replica, whose server is killed; all else has three."""
    audit = Audit("orders.place", "ORDERS")
    gave_up: list[int] = []

    class Orders(Actor):
        concurrency = 4
        retry = ()
        publishes = {"placed.order": int}

        @command("orders.place")
        async def place(self, number: int) -> None:
            try:
                await self.publish("placed.order", number)
            except PublishUnknownError:
                gave_up.append(number)
                raise
            audit.effect(number)

    config = Config(name="test", nats=cluster.url(), streams={"replicas": 3})
    async with System(Supervisor([Orders]), config=config) as system:
        outputs_config = (await cluster.call("STREAM.INFO.PLACED"))["config"]
        await cluster.call("STREAM.UPDATE.PLACED", {**outputs_config, "num_replicas": 1})
        await cluster.whole()
        victim = await cluster.elected("PLACED")
        cluster.kill(victim)
        begun = monotonic()
        for _ in range(MESSAGES):
            await audit.publish(system.board)
        await eventually(lambda: len(gave_up) >= Orders.concurrency, within=60)
        outage = monotonic() - begun
        handled_meanwhile = len(audit.effects)
        await cluster.start(victim)
        back = monotonic()
        await audit.all_handled()
        recovered = monotonic() - back
        await cluster.whole()

    found = await audit.check(cluster.url())
    outputs = Counter(body for body, _ in await read_stream(cluster.url(), "PLACED"))
    attempts = await cluster.call("STREAM.INFO.KV_CALLBOARD", {"subjects_filter": "$KV.CALLBOARD.attempts.>"})
    used = len(attempts["state"].get("subjects") or {})
    figures(
        "output stream without a leader while handlers publish",
        outage_s=outage,
        **found,
        attempts_used=used,
        handlers_gave_up=len(gave_up),
        all_done_after_recovery_s=recovered,
    )
    assert handled_meanwhile == 0
    assert found["dead_letters"] == used == 0
    assert outputs == Counter(str(number).encode() for number in audit.done)
    assert len(audit.done) == MESSAGES
