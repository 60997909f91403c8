"""What probes are told about workers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from attrs import define, evolve

from callboard.brokers.status import Flow, MailboxStatus
from callboard.supervision import State
from callboard.system.health import STALE, STUCK, Health
from callboard.system.status import ActorStatus, Status
from callboard.system.web import Response

MAILBOX = MailboxStatus("command-work-1", "work.do", live=True, lag=3)
READY = Status([ActorStatus("shop", "Worker", State.RUNNING, 2, essential=True, mailboxes=[MAILBOX])], started=True)
DEGRADED = evolve(READY, actors=[evolve(READY.actors[0], mailboxes=[evolve(MAILBOX, flow=Flow.PAUSED)])])
NOT_READY = evolve(READY, draining=True)


@define
class Worker:
    """A process as far as health looks at it."""

    pid: int = 4711
    last_pulse: float = 0.0


@define
class Case:
    """A parent with two workers, whose clock is set by hand."""

    health: Health
    workers: list[Worker]
    now: float = 100.0
    stopping: bool = False

    def pulse(self) -> None:
        for worker in self.workers:
            worker.last_pulse = self.now

    def hear(self, *statuses: Status) -> None:
        for number, status in enumerate(statuses):
            self.health.heard(number, status)


@pytest.fixture
def case() -> Case:
    case: Case
    health = Health(2, lambda: case.stopping, lambda: case.now)
    case = Case(health, [Worker(4711), Worker(4712)])
    case.pulse()
    for number, worker in enumerate(case.workers):
        health.took(number, worker)
    return case


def told(response: Response) -> tuple[int, str, list[str]]:
    content: dict[str, Any] = msgspec.json.decode(response.body)
    return response.status, content["status"], content["reasons"]


def test_ready_when_every_worker_is(case: Case) -> None:
    case.hear(READY)
    assert told(case.health.ready()) == (503, "not ready", ["worker 1: it is starting"])

    case.hear(READY, READY)
    assert told(case.health.ready()) == (200, "ready", [])


def test_detail_names_workers_actors_and_mailboxes(case: Case) -> None:
    case.hear(READY, READY)

    worker = msgspec.json.decode(case.health.ready().body)["workers"][1]

    assert (worker["number"], worker["pid"], worker["status"]) == (1, 4712, "ready")
    [actor] = worker["actors"]
    assert actor["name"] == "Worker"
    assert (actor["service"], actor["state"], actor["restarts"], actor["essential"]) == ("shop", "running", 2, True)
    assert actor["mailboxes"] == [
        {"durable": "command-work-1", "topic": "work.do", "live": True, "flow": "open", "alarm": "", "lag": 3}
    ]


def test_degraded_worker_counts_as_ready_and_says_so(case: Case) -> None:
    case.hear(READY, DEGRADED)

    assert told(case.health.ready()) == (
        200,
        "degraded",
        ["worker 1: Worker: mailbox command-work-1 is paused"],
    )


def test_one_worker_that_is_not_ready_is_enough(case: Case) -> None:
    case.hear(DEGRADED, NOT_READY)

    assert told(case.health.ready())[:2] == (503, "not ready")


def test_not_ready_as_soon_as_a_stop_begins(case: Case) -> None:
    case.hear(READY, READY)
    case.stopping = True

    assert told(case.health.ready()) == (503, "not ready", ["it is stopping"])


def test_worker_that_died_is_not_ready_until_its_successor_says_so(case: Case) -> None:
    case.hear(READY, READY)

    case.health.left(0)
    assert told(case.health.ready()) == (503, "not ready", ["worker 0: there is no process"])

    case.health.took(0, Worker(4713, case.now))
    assert told(case.health.ready()) == (503, "not ready", ["worker 0: it is starting"])

    case.hear(READY)
    assert told(case.health.ready())[0] == 200


def test_report_that_is_old_counts_no_more(case: Case) -> None:
    case.hear(READY, READY)
    case.now += STALE + 1
    case.pulse()
    case.health.heard(1, READY)

    assert told(case.health.ready()) == (503, "not ready", [f"worker 0: it has not reported for {STALE + 1:.0f} s"])


def test_worker_whose_event_loop_stands_still_is_not_ready_soon_and_not_live_much_later(case: Case) -> None:
    case.now += STALE + 1
    case.hear(READY, READY)
    case.workers[1].last_pulse = case.now
    assert told(case.health.ready())[2] == [f"worker 0: its event loop has stood still for {STALE + 1:.0f} s"]
    assert told(case.health.live())[0] == 200

    case.now += STUCK
    case.workers[1].last_pulse = case.now
    assert told(case.health.live()) == (
        503,
        "stuck",
        [f"worker 0: its event loop has stood still for {STALE + 1 + STUCK:.0f} s"],
    )


def test_started_once_every_worker_was_ready_once_and_from_then_on(case: Case) -> None:
    case.hear(READY, NOT_READY)
    assert told(case.health.startup()) == (503, "starting", ["worker 1 has not been ready yet"])

    case.hear(NOT_READY, DEGRADED)
    assert told(case.health.startup()) == (200, "started", [])

    case.health.left(0)
    assert told(case.health.startup())[0] == 200


def test_probes_of_the_guide_are_routes(case: Case) -> None:
    guide = Path(__file__).parents[3] / "docs" / "guide" / "health.md"

    probes = re.findall(r"httpGet: { path: (\S+),", guide.read_text())

    assert sorted(probes) == sorted(case.health.routes)
