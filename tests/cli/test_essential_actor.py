"""The end of a service whose essential actor cannot be kept running."""

from __future__ import annotations

import pytest

from tests.cli.command import CommandLine

pytestmark = pytest.mark.usefixtures("nats_binary")

BROKEN = """
from callboard import Actor, ActorCrash, ChildSpec, RestartIntensity, Supervisor, command


class Broken(Actor):
    @command("broken.now")
    async def now(self) -> None:
        raise ActorCrash("beyond repair")


tree = Supervisor([ChildSpec(Broken, essential=True)], intensity=RestartIntensity(max_restarts=1, period=60.0))
"""


async def test_essential_actor_that_cannot_be_kept_running_ends_the_service(served: CommandLine) -> None:
    (served.folder / "broken.py").write_text(BROKEN)
    running = await served.run("broken", "--grace", "2")
    await running.worker()

    await served("publish", "broken.now")

    assert await running.ended() == 70
    assert "more than 1 restarts within 60 s" in running.text


async def test_actor_that_cannot_start_ends_the_run_at_once(served: CommandLine) -> None:
    (served.folder / "unlucky.py").write_text(
        BROKEN.replace(
            "    @command", "    async def on_start(self) -> None:\n        raise OSError('no disk')\n\n    @command", 1
        )
    )
    running = await served.run("unlucky")

    assert await running.ended() == 1
    assert "no disk" in running.text
    assert "again in" not in running.text
