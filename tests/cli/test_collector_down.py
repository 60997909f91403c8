"""A collector that is down costs a service nothing but its spans."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator

import nats
import pytest
from nats.js import JetStreamContext

from callboard.embedded import EmbeddedServer
from tests.cli.command import CommandLine, Running
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")

MESSAGES = 3000
QUEUE = 500
GRACE = 1.0

SERVICE = """
from pathlib import Path
from callboard import Actor, event


class Counter(Actor):
    def __init__(self) -> None:
        self.handled = set()

    @event("numbers.drawn")
    async def drawn(self, number: int) -> None:
        await self.publish("results.seen", number)
        self.handled.add(number)
        if len(self.handled) == 3000:
            Path("all").touch()
"""


@pytest.fixture(params=["closed", "silent"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """Nobody listens there, or somebody who accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        if request.param == "closed":
            server.close()
        yield address


@pytest.fixture
async def js(nats_server: EmbeddedServer) -> AsyncIterator[JetStreamContext]:
    """With a stream that holds all messages already."""
    client = await nats.connect(nats_server.url, allow_reconnect=False)
    stream = client.jetstream()
    await stream.add_stream(name="NUMBERS", subjects=["numbers.>"])
    await stream.add_stream(name="RESULTS", subjects=["results.>"])
    for number in range(MESSAGES):
        await client.publish("numbers.drawn", json.dumps(number).encode())
    await client.flush()
    yield stream
    await client.close()


@pytest.fixture
async def counter(callboard: CommandLine, nats_server: EmbeddedServer, js: JetStreamContext, endpoint: str) -> Running:
    """The service, with every trace recorded."""
    (callboard.folder / "numbers_.py").write_text(SERVICE)
    callboard.environment.update(
        NATS_URL=nats_server.url, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_BSP_MAX_QUEUE_SIZE=str(QUEUE)
    )
    return await callboard.run("numbers_", "--grace", str(GRACE))


async def test_everything_is_handled_and_the_stop_is_in_time(counter: Running, js: JetStreamContext) -> None:
    await counter.exists("all")
    await eventually(lambda: stored(js, "RESULTS", MESSAGES))

    begun = time.monotonic()
    counter.signal(signal.SIGTERM)
    assert await counter.ended() == 0
    # The exporter would try for 10 s more. Two processes need a moment to end, on a busy machine too.
    assert time.monotonic() - begun < GRACE + 2


async def test_spans_are_bounded_and_the_end_says_how_many_are_lost(counter: Running) -> None:
    """Two for each message would be made, were there room; there is some for an eighth of a batch."""
    await counter.exists("all")
    counter.signal(signal.SIGTERM)
    assert await counter.ended() == 0
    (lost,) = re.findall(r"(\d+) (?:are lost|spans did not reach)", counter.text)
    assert 0 < int(lost) <= QUEUE // 8 + 10


async def stored(js: JetStreamContext, stream: str, count: int) -> bool:
    """Whether a stream holds so many messages."""
    return (await js.stream_info(stream)).state.messages == count
