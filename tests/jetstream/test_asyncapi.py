"""What goes over a real server is as the document says: headers and content of messages, results and errors."""

# nats-py ships no complete annotations.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg

import callboard
from actors.users import Users, Welcome
from callboard import Supervisor
from callboard.embedded import EmbeddedServer
from callboard.errors import RemoteError
from callboard.system.system import System
from tests.asyncapi import described, fits, resolve
from tests.jetstream.eventually import eventually


def matching(document: Mapping[str, Any], references: list[dict[str, str]], message: Msg) -> list[str]:
    """Those of the messages referred to which a message on the wire is."""
    found: list[str] = []
    for reference in references:
        described = resolve(document, reference["$ref"])
        headers = fits(document, described["headers"], dict(message.headers or {}))
        if headers and fits(document, described["payload"], json.loads(message.data)):
            found.append(described["title"])
    return found


async def test_messages_on_the_wire_are_those_of_the_document(nats_server: EmbeddedServer) -> None:
    document = described(Users, Welcome)
    requests: list[Msg] = []
    created: list[Msg] = []
    replies: list[Msg] = []

    async def see(message: Msg) -> None:
        if message.reply.startswith("$JS.ACK."):
            return  # a delivery of what was seen already
        if message.subject.startswith("user."):
            (requests if message.subject == "user.create" else created).append(message)
        elif message.subject.startswith("_INBOX.") and "Callboard-Id" in (message.headers or {}):
            replies.append(message)

    async with System(Supervisor([Users, Welcome]), name="shop", nats=nats_server.url):
        connection = await nats.connect(nats_server.url)
        await connection.subscribe(">", cb=see)
        await connection.flush()
        async with callboard.connect(nats_server.url) as board:
            await board.request("user.create", {"email": "ada@example.org"}, timeout=20)
            for refused in ({"email": ""}, {"email": 5}):
                with pytest.raises(RemoteError):
                    await board.request("user.create", refused, timeout=20)
        await eventually(lambda: (len(requests), len(created), len(replies)) == (3, 1, 3), within=20)
        await connection.close()

    operation = document["operations"]["Users.create"]
    published = document["operations"]["Users.publish.user.created"]["messages"]
    answers = operation["reply"]["messages"]
    location = operation["reply"]["address"]["location"].rpartition("/")[2]
    assert [matching(document, operation["messages"], it) for it in requests] == [["user.create.message"]] * 3
    assert [matching(document, published, it) for it in created] == [["UserCreated"]]
    assert [matching(document, answers, it) for it in replies] == [["user.create.reply"], ["Error"], ["Error"]]
    assert [it.headers[location] for it in requests if it.headers] == [it.subject for it in replies]
