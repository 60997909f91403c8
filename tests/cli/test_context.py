"""Connections that people have by name, for the command `nats`."""

from __future__ import annotations

import json

import pytest

from callboard.embedded import EmbeddedServer
from tests.cli.command import CommandLine

pytestmark = pytest.mark.usefixtures("nats_binary")


@pytest.fixture
def named(callboard: CommandLine) -> CommandLine:
    """A folder for contexts, as natscli has it."""
    (callboard.folder / "nats" / "context").mkdir(parents=True)
    callboard.environment["XDG_CONFIG_HOME"] = str(callboard.folder)
    return callboard


async def test_every_command_takes_a_context_where_an_address_may_stand(named: CommandLine) -> None:
    async with EmbeddedServer(port=0, extra_config="authorization { user: shop, password: of-shop }") as server:
        context = {"url": server.url, "user": "shop", "password": "of-shop"}
        (named.folder / "nats" / "context" / "prod.json").write_text(json.dumps(context))
        running = await named.run("svc", "--nats", "context:prod")
        await running.worker()

        asked = await named("request", "orders.add", "[1, 2]", "--nats", "context:prod")
        listed = await named("mailboxes", NATS_CONTEXT="prod")

    assert (asked.code, asked.out) == (0, "3\n")
    assert (listed.code, "orders.add" in listed.out) == (0, True)


async def test_context_that_is_not_there_is_wrong_use(named: CommandLine) -> None:
    (named.folder / "nats" / "context" / "prod.json").write_text("{}")

    for command in (("run", "svc"), ("request", "orders.add"), ("doctor",)):
        result = await named(*command, "--nats", "context:prd")

        assert result.code == 2, result
        assert len(result.err.splitlines()) == 1
        assert "'nats.context': 'prd' does not exist" in result.err
        assert "did you mean 'prod'?" in result.err
