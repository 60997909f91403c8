"""A cluster of three loses its leader: nothing is lost or stored twice, and idle mailboxes wake up."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from callboard import Actor, event
from callboard.actors import declaration_of
from callboard.client import Board
from callboard.config import Config
from callboard.jetstream import JetStreamTransport
from callboard.supervision import Supervisor
from callboard.system import System
from tests.faults.audit import Audit, longest_gap
from tests.faults.cluster import Cluster
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually

BETWEEN = 200
"""Messages handled before the fault, and after it."""
PUBLISHERS = 50
"""Enough for acknowledgements to be on their way when the leader is lost."""
WAKES = 2.0
"""Seconds after the election until an idle mailbox delivers."""
VICTIM = "n1"


async def hurt(cluster: Cluster, how: str) -> None:
    """Take the leadership from the victim."""
    if how == "SIGKILLed":
        cluster.kill(VICTIM)
    elif how == "frozen (SIGSTOP)":
        cluster.freeze(VICTIM)
    else:
        await cluster.step_down("SALES")


async def heal(cluster: Cluster, how: str) -> None:
    """Have three servers again."""
    if how == "SIGKILLed":
        await cluster.start(VICTIM)
    elif how == "frozen (SIGSTOP)":
        cluster.resume(VICTIM)
    await cluster.whole()


@pytest.mark.timeout(120)
# nats-py forgets to close a connection whose server did not answer the handshake.
@pytest.mark.filterwarnings("ignore:.*StreamWriter.__del__:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("connected", ["to the others", "to the victim"])
@pytest.mark.parametrize("how", ["SIGKILLed", "frozen (SIGSTOP)", "stepped down"])
async def test_losing_the_leader_loses_no_message(cluster: Cluster, how: str, connected: str, figures: Figures) -> None:
    """The victim leads the stream, the busy mailbox and the idle one."""
    addresses = cluster.others(VICTIM) if connected == "to the others" else [VICTIM]
    audit = Audit("sales.made", "SALES")
    woken: list[float] = []

    class Ledger(Actor):
        concurrency = 8

        @event("sales.made")
        async def enter(self, number: int) -> None:
            audit.effect(number)

        @event("sales.audited")
        async def close(self) -> None:
            woken.append(monotonic())

    config = Config(name="test", nats=cluster.url(*addresses), streams={"replicas": 3})
    durables = [mailbox.durable for _, mailbox in declaration_of(Ledger).mailboxes("test")]

    async def handle(more: int) -> None:
        before = len(audit.effects)
        await eventually(lambda: len(audit.effects) >= before + more)

    async def elected() -> float:
        """When stream and mailboxes had leaders again."""
        for durable in ("", *durables):
            await cluster.elected("SALES", durable)
        return monotonic()

    async with System(Supervisor([Ledger]), config=config), JetStreamTransport.from_config(config) as transport:
        board = Board(transport)
        await cluster.whole()
        for durable in ("", *durables):
            await cluster.led_by(VICTIM, "SALES", durable)
        async with audit.load(board, publishers=PUBLISHERS):
            await handle(BETWEEN)
            begun = monotonic()
            await hurt(cluster, how)
            election, _ = await asyncio.gather(elected(), board.publish("sales.audited"))
            stored = monotonic()
            await eventually(lambda: len(woken) > 0)
            await handle(BETWEEN)
            await heal(cluster, how)
            await handle(BETWEEN)
        await audit.all_handled()

    found = await audit.check(cluster.url())
    figures(
        f"leader of an R3 cluster {how}",
        connected=connected,
        **found,
        election_s=election - begun,
        idle_mailbox_after_election_s=max(0.0, woken[0] - election),
        longest_publish_gap_s=longest_gap(audit.done.values()),
    )
    assert not audit.refused
    assert woken[0] - max(election, stored) < WAKES
