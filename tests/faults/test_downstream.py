"""While everything downstream fails, messages wait; none of them is given up."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from callboard import Actor, command
from callboard.embedded import EmbeddedServer
from tests.faults.audit import Audit
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually
from tests.jetstream.service import service

BEFORE, MEANWHILE = 100, 200
OUTAGE = 60.0


@pytest.mark.timeout(180)
async def test_outage_downstream_makes_no_dead_letters(
    nats_server: EmbeddedServer, figures: Figures, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the kill switch each message would be given up after 1.5 s of failures."""
    audit = Audit("orders.place", "ORDERS")
    failures: list[float] = []
    database_answers = asyncio.Event()
    database_answers.set()

    class Orders(Actor):
        concurrency = 8
        retry = (0.5, 0.5, 0.5)

        @command("orders.place")
        async def place(self, number: int) -> None:
            if not database_answers.is_set():
                failures.append(monotonic())
                raise ConnectionError("the database does not answer")
            audit.effect(number)

    async with service(nats_server, Orders) as system:
        for _ in range(BEFORE):
            await audit.publish(system.board)
        await audit.all_handled()
        database_answers.clear()
        begun = monotonic()
        for _ in range(MEANWHILE):
            await audit.publish(system.board)
        await eventually(lambda: "pauses for" in caplog.text)
        paused = monotonic() - begun
        await asyncio.sleep(begun + OUTAGE - monotonic())  # the outage lasts so long: this is the fault, not a wait
        assert len(audit.effects) == BEFORE
        database_answers.set()
        back = monotonic()
        await audit.all_handled(within=40)
        recovered = monotonic() - back

    found = await audit.check(nats_server.url)
    figures(
        "everything downstream fails for a minute",
        outage_s=OUTAGE,
        **found,
        paused_after_s=paused,
        failed_runs=len(failures),
        all_done_after_recovery_s=recovered,
    )
    assert found["dead_letters"] == 0
    assert len(failures) < MEANWHILE / 2
    assert len(audit.effects) == BEFORE + MEANWHILE
