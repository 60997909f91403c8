"""The trace of a message whose worker is killed while it runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from callboard.embedded import EmbeddedServer
from callboard.testing import SpanReceiver
from tests.cli.command import command_line
from tests.jaeger.flow import web
from tests.jetstream.eventually import eventually

SERVICE = """
import asyncio
import os
from pathlib import Path
from callboard import Actor, event


class Sales(Actor):
    @event("orders.placed")
    async def placed(self) -> None:
        Path("new").write_text(str(os.getpid()))
        Path("new").rename("begun")
        while not Path("go").exists():
            await asyncio.sleep(0.01)
"""


async def test_redelivery_after_the_death_of_a_worker_has_the_parent_of_the_first(
    nats_server: EmbeddedServer, receiver: SpanReceiver, tmp_path: Path
) -> None:
    async with command_line(tmp_path / "shop", SERVICE) as command, web(nats_server, receiver.endpoint) as application:
        command.environment.update(NATS_URL=nats_server.url, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint)
        running = await command.run("svc")
        await running.worker()
        trace_id = await application.post_order()
        await running.exists("begun")

        os.kill(int((command.folder / "begun").read_text()), signal.SIGKILL)
        (command.folder / "go").touch()
        await eventually(lambda: any(span.kind == "CONSUMER" for span in receiver.spans))
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0

    publish, process = receiver.trace(trace_id)[1:]
    assert (publish.name, process.name) == ("publish orders.placed", "process orders.placed")
    assert process.parent_id == publish.span_id
    assert process.attributes["messaging.nats.message.delivery_count"] == 2
    assert process.attributes["callboard.attempt"] == 1
    assert process.attributes["callboard.settlement"] == "ack"
    assert "was killed by SIGKILL, messages in progress: 1" in running.text
