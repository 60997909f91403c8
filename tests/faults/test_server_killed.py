"""A server that is killed again and again loses nothing that it acknowledged."""

from __future__ import annotations

from time import monotonic

from callboard import Actor, event
from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from tests.faults.audit import Audit, longest_gap
from tests.faults.report import Figures
from tests.jetstream.eventually import eventually
from tests.jetstream.service import service

KILLS = 10
BETWEEN = 200
"""Messages handled before the next kill."""
RESUMES = 2.0


async def test_nothing_acknowledged_is_lost_and_mailboxes_resume(nats_server: EmbeddedServer, figures: Figures) -> None:
    """One replica: its file survives the process, but consumers may forget acknowledgements and deliver again."""
    audit = Audit("sales.made", "SALES")
    resumed: list[float] = []

    class Ledger(Actor):
        concurrency = 8
        ack_wait = 2.0

        @event("sales.made")
        async def enter(self, number: int) -> None:
            audit.effect(number)

    async def handle(more: int) -> None:
        before = len(audit.effects)
        await eventually(lambda: len(audit.effects) >= before + more)

    transport = JetStreamTransport(ConnectionOptions((nats_server.url,)))
    async with service(nats_server, Ledger), transport:
        async with audit.load(Board(transport)):
            for _ in range(KILLS):
                await handle(BETWEEN)
                nats_server.kill()
                await nats_server.restart()
                answers, known = monotonic(), len(audit.effects)
                await handle(1)
                resumed.append(audit.effects[known].at - answers)
        await audit.all_handled()

    found = await audit.check(nats_server.url)
    figures(
        "server SIGKILL and restart, 10 times under load (R1, file storage)",
        **found,
        longest_resume_s=max(resumed),
        longest_delay_s=audit.longest_delay,
        longest_publish_gap_s=longest_gap(audit.done.values()),
    )
    assert not audit.refused
    assert not audit.unknown
    assert max(resumed) < RESUMES
