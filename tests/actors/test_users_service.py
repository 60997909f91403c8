"""Creating users: in the test's memory, and by the command line on a real server."""

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
from callboard.testing import ActorTest

ADA = {"email": "ada@example.org", "name": "Ada"}


class Observer(Actor):
    """Hears what others would."""

    heard: list[UserCreated]

    @event("user.created")
    async def hear(self, created: UserCreated) -> None:
        self.heard.append(created)


@pytest.fixture
async def system() -> AsyncIterator[ActorTest]:
    Observer.heard = []
    async with ActorTest(Users, Welcome, Observer) as system:
        yield system


async def test_creating_a_user_answers_with_an_id_and_tells_everyone(system: ActorTest) -> None:
    answer = await system.request("user.create", ADA)
    await system.settled()
    assert answer["status"] == "created"
    assert Observer.heard == [UserCreated(UUID(answer["id"]), "ada@example.org", "Ada")]


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ({"name": "Ada"}, "a user needs an email"),
        ({"email": ""}, "a user needs an email"),
        ({"email": "ada"}, "'ada' is no email address"),
        ({"email": 7}, "expected str"),
    ],
)
async def test_a_user_without_a_proper_email_is_refused(
    system: ActorTest, user: dict[str, object], reason: str
) -> None:
    with pytest.raises(RemoteError, match=reason) as refused:
        await system.request("user.create", user)
    await system.settled()
    assert refused.value.status == 400
    assert Observer.heard == []


async def test_a_command_that_is_handled_twice_creates_one_user(system: ActorTest) -> None:
    system.lose_acks()
    await system.publish("user.create", ADA)
    await system.advance(35)
    await system.settled()
    assert [created.name for created in Observer.heard] == ["Ada"]


async def test_a_new_user_is_welcomed_by_name(system: ActorTest, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="actors.users"):
        await system.request("user.create", ADA)
        await system.settled()
    assert "welcome, Ada" in caplog.messages


@pytest.fixture
async def served(nats_server: EmbeddedServer) -> AsyncIterator[EmbeddedServer]:
    """A server with a service on it."""
    async with System(Supervisor([Users]), name="users", nats=nats_server.url):
        yield nats_server


async def command(server: EmbeddedServer, *arguments: str) -> tuple[int | None, str, str]:
    """Run `callboard request` as a person would: exit code, output, errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "callboard", "request", *arguments, "--nats", server.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_the_command_line_prints_the_new_user(served: EmbeddedServer) -> None:
    code, output, _ = await command(served, "user.create", json.dumps(ADA))
    assert (code, json.loads(output)["status"]) == (0, "created")


async def test_the_command_line_prints_a_refusal_and_exits_with_1(served: EmbeddedServer) -> None:
    code, output, errors = await command(served, "user.create", '{"name": "Ada"}')
    assert (code, json.loads(output)["error"]["message"]) == (1, "a user needs an email")
    assert "a user needs an email" in errors
