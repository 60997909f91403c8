"""The users against a real server."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from actors.users import UserCreated, Users, Welcome
from callboard import Actor, RemoteError, Supervisor, System, event
from callboard.embedded import EmbeddedServer

ADA = {"email": "ada@example.org", "name": "Ada"}


class Observer(Actor):
    """Hands what it hears to the test."""

    heard: asyncio.Queue[UserCreated]

    @event("user.created")
    async def hear(self, created: UserCreated) -> None:
        self.heard.put_nowait(created)


@pytest.fixture
async def system(nats_server: EmbeddedServer) -> AsyncIterator[System]:
    Observer.heard = asyncio.Queue()
    async with System(Supervisor([Users, Welcome, Observer]), name="users", nats=nats_server.url) as system:
        yield system


async def test_creating_a_user_answers_with_an_id_and_tells_everyone(system: System) -> None:
    answer = await system.board.request("user.create", ADA)
    assert answer["status"] == "created"
    assert await Observer.heard.get() == UserCreated(UUID(answer["id"]), "ada@example.org", "Ada")


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ({"name": "Ada"}, "a user needs an email"),
        ({"email": ""}, "a user needs an email"),
        ({"email": "ada"}, "'ada' is no email address"),
        ({"email": 7}, "expected str"),
    ],
)
async def test_a_user_without_a_proper_email_is_refused(system: System, user: dict[str, object], reason: str) -> None:
    with pytest.raises(RemoteError, match=reason) as caught:
        await system.board.request("user.create", user)
    assert caught.value.status == 400
    assert Observer.heard.empty()


async def test_a_new_user_is_welcomed_by_name(system: System, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="actors.users"):
        await system.board.request("user.create", ADA)
        while "welcome, Ada" not in caplog.messages:
            await asyncio.sleep(0.01)


async def command(server: EmbeddedServer, *arguments: str) -> tuple[int | None, str, str]:
    """Run `callboard request` as a person would: exit code, output, errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "callboard", "request", *arguments, "--nats", server.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_the_command_line_prints_the_new_user(nats_server: EmbeddedServer, system: System) -> None:
    code, output, _ = await command(nats_server, "user.create", json.dumps(ADA))
    assert (code, json.loads(output)["status"]) == (0, "created")


async def test_the_command_line_prints_a_refusal_and_exits_with_1(nats_server: EmbeddedServer, system: System) -> None:
    code, output, errors = await command(nats_server, "user.create", '{"name": "Ada"}')
    assert (code, json.loads(output)["error"]["message"]) == (1, "a user needs an email")
    assert "a user needs an email" in errors
