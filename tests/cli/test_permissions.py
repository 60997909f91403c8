"""`callboard permissions`: the reference application runs with exactly what it prints."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import attrs
import pytest

import callboard as library
from actors.airline import Mood, mood_of
from actors.figures import Row, read_rows
from actors.flights import Departure
from callboard.embedded import EmbeddedServer
from tests.cli.command import CommandLine
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")

REPOSITORY = Path(__file__).parents[2]
CONFIG = """
callboard:
  streams: {{manage: {manage}}}
  replies: {{topics: [passengers.answered]}}
"""
SERVER = """
accounts {{ A {{ jetstream: enabled, users: [
  {{ user: root, password: secret }}
  {{ user: flights, password: secret
{permissions}
  }}
] }} }}
"""


@pytest.fixture
def flights(callboard: CommandLine) -> CommandLine:
    """The command where the reference application can be imported."""
    callboard.environment["PYTHONPATH"] = str(REPOSITORY)
    return callboard


def cancelled() -> dict[Mood, Row]:
    """One cancelled flight for each mood of the airline's desk."""
    found: dict[Mood, Row] = {}
    for row in read_rows():
        if row["dep_time"] is None:
            departure = Departure(**{field.name: row[field.name] for field in attrs.fields(Departure)})  # type: ignore[arg-type]
            found.setdefault(mood_of(departure.key), row)
    return found


@pytest.mark.timeout(120)
@pytest.mark.parametrize("manage", ["manage", "verify"])
async def test_reference_application_runs_with_what_is_printed(flights: CommandLine, manage: str) -> None:
    """It hears of departures, has passengers rebooked, retries, gives up, is answered, and answers."""
    (flights.folder / "config.yml").write_text(CONFIG.format(manage=manage))
    printed = await flights("permissions", "actors.flights", "--config", "config.yml")
    assert (printed.code, printed.err) == (0, "")

    async with EmbeddedServer(port=0, extra_config=SERVER.format(permissions=printed.out)) as server:
        root, own = (server.url.replace("//", f"//{user}:secret@") for user in ("root", "flights"))
        if manage == "verify":
            applied = await flights("topology", "apply", "actors.flights", "--nats", root)
            assert applied.code == 0, applied.err
        running = await flights.run("actors.flights", "--config", "config.yml", "--nats", own)
        await running.worker()
        async with library.connect(root) as board:
            for row in cancelled().values():
                await board.publish("flights.departed", row)

            async def all_answered() -> bool:
                summary: dict[str, int] = await board.request("disruptions.summary", timeout=10)
                return summary == {"rebooked": 2, "refused": 1, "failed": 1}

            await eventually(all_answered, within=40)
            assert await board.request("ledger.summary", timeout=10) == {"handled": 4, "distinct": 4}
        letters = await flights("dead", "list", "--json", "--nats", root)
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0

    assert [json.loads(line)["error"] for line in letters.out.splitlines()] == ["DeskDownError"], letters
    assert "permission" not in running.text, running.text


async def test_json_says_the_same_and_marks_what_is_optional(served: CommandLine) -> None:
    text = (await served("permissions", "svc")).out
    document: dict[str, Any] = json.loads((await served("permissions", "svc", "--json")).out)

    allowed = document["permissions"]
    printed = re.findall(r'^ +"(.*)"$', text, re.MULTILINE)
    assert printed == allowed["publish"]["allow"] + allowed["subscribe"]["allow"]
    assert len(set(allowed["publish"]["allow"])) == len(allowed["publish"]["allow"])
    assert "$SRV.>" in document["optional"]
    for subject in document["optional"]:
        above = text[: text.index(f'"{subject}"')].splitlines()
        assert [line for line in above if line.strip().startswith("#")][-1].strip().startswith("# optional: without it")


async def test_nothing_to_look_at_is_wrong_use(callboard: CommandLine) -> None:
    result = await callboard("permissions")

    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert "give a TARGET" in result.err
