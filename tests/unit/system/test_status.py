"""What follows from how actors and mailboxes are."""

from __future__ import annotations

import pytest
from attrs import evolve

from callboard import Actor, ActorCrash, ChildSpec, Supervisor, command
from callboard.brokers.memory import InMemoryTransport
from callboard.brokers.status import Flow, MailboxStatus
from callboard.supervision import RestartIntensity, State
from callboard.system import System
from callboard.system.status import ActorStatus, Readiness, Status, essential_names
from tests.jetstream.eventually import eventually

MAILBOX = MailboxStatus("command-work-1", "work.do", live=True)
ACTOR = ActorStatus("shop", "Worker", State.RUNNING, 0, essential=False, mailboxes=[MAILBOX])


def running(actor: ActorStatus = ACTOR, **mailbox: object) -> Status:
    """A started system with one actor, whose mailbox is as said."""
    return Status([evolve(actor, mailboxes=[evolve(MAILBOX, **mailbox)])], started=True)


def test_system_with_running_actors_and_live_mailboxes_is_ready() -> None:
    assert running().readiness is Readiness.READY
    assert running().reasons == []


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (evolve(running(), started=False), "it is starting"),
        (evolve(running(), draining=True), "it is draining"),
        (running(live=False), "Worker: mailbox command-work-1 has no live pull"),
        (running(alarm="stream 'WORK' is gone"), "Worker: mailbox command-work-1 stands still: stream 'WORK' is gone"),
        (running(evolve(ACTOR, essential=True, state=State.BACKING_OFF)), "Worker is backing off and essential"),
    ],
    ids=["starting", "draining", "no pull", "alarm", "essential"],
)
def test_system_is_not_ready_and_says_why(status: Status, reason: str) -> None:
    assert status.readiness is Readiness.NOT_READY
    assert status.reasons == [reason]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (running(flow=Flow.PAUSED), "Worker: mailbox command-work-1 is paused"),
        (running(flow=Flow.PROBING), "Worker: mailbox command-work-1 is probing"),
        (running(evolve(ACTOR, state=State.PARKED), live=False), "Worker is parked"),
    ],
    ids=["paused", "probing", "parked"],
)
def test_part_that_may_fail_by_itself_degrades_a_system_that_stays_ready(status: Status, reason: str) -> None:
    assert status.readiness is Readiness.DEGRADED
    assert status.reasons == [reason]


class Crashing(Actor):
    @command("crashing.now")
    async def now(self) -> None:
        raise ActorCrash("beyond repair")


class Steady(Actor):
    @command("steady.now")
    async def now(self) -> None: ...


def test_actor_is_essential_when_it_or_a_supervisor_above_it_is() -> None:
    class Other(Steady):
        @command("other.now")
        async def other(self) -> None: ...

    nested = ChildSpec(Supervisor([Steady], name="inner"), essential=True)

    assert essential_names(Supervisor([nested, Other])) == {"Steady"}
    assert essential_names(Supervisor([ChildSpec(Other, essential=True), Crashing])) == {"Other"}


async def test_system_lists_every_actor_before_it_starts_while_it_runs_and_after_it_stopped() -> None:
    system = System(Supervisor([Steady]), name="shop", transport=InMemoryTransport())
    before = system.status()

    async with system:
        meanwhile = system.status()
        ready = system.ready
    after = system.status()

    assert [actor.name for actor in before.actors] == ["Steady"]
    assert before.reasons == ["it is starting", "Steady is stopped"]
    assert ready
    assert [(actor.service, actor.state, actor.restarts) for actor in meanwhile.actors] == [("shop", "running", 0)]
    assert [(box.topic, box.live) for box in meanwhile.actors[0].mailboxes] == [("steady.now", True)]
    assert after.readiness is Readiness.NOT_READY
    assert not after.actors[0].mailboxes[0].live


async def test_parked_actor_degrades_its_system() -> None:
    tree = Supervisor([Crashing, Steady], intensity=RestartIntensity(max_restarts=0))
    async with System(tree, name="shop", transport=InMemoryTransport()) as system:
        await system.board.publish("crashing.now")
        await eventually(lambda: system.status().actors[0].state is State.PARKED)

        assert system.status().readiness is Readiness.DEGRADED
        assert system.ready
        assert "Crashing is parked" in system.status().reasons


async def test_lag_is_what_the_statistics_say() -> None:
    transport = InMemoryTransport()
    async with System(Supervisor([Steady]), name="shop", transport=transport) as system:
        durable = system.status().actors[0].mailboxes[0].durable
        system._instrumentation.statistics.mailbox(durable, "Steady", "steady.now").lag_now = 7  # pyright: ignore[reportPrivateUsage]

        assert system.status().actors[0].mailboxes[0].lag == 7
