"""One flow through three worker processes is one trace, whoever collects it."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.embedded import EmbeddedServer
from callboard.testing.span import ReceivedSpan, orphans_of, tree_of
from tests.cli.command import CommandLine, command_line
from tests.docs.page import blocks_of
from tests.jaeger.expectation import MESSAGE, expected_trace, shape_of
from tests.jaeger.flow import Collector, run_flow, web
from tests.jaeger.server import WARNINGS

pytestmark = pytest.mark.usefixtures("nats_binary")

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "tracing.md"


@pytest.fixture(params=["receiver", "jaeger"])
def collector(request: pytest.FixtureRequest) -> Collector:
    found: Collector = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def command(nats_server: EmbeddedServer, tmp_path: Path, collector: Collector) -> AsyncIterator[CommandLine]:
    """The command in a folder of its own, its spans sent to the collector."""
    async with command_line(tmp_path / "shop", "") as command:
        command.environment.update(
            NATS_URL=nats_server.url,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_BSP_SCHEDULE_DELAY="100",
        )
        yield command


async def test_flow_from_a_web_request_to_the_replay_of_a_dead_letter_is_one_trace(
    nats_server: EmbeddedServer, command: CommandLine, collector: Collector
) -> None:
    async with web(nats_server, collector.endpoint) as application:
        trace_id = await run_flow(command, application, collector)

    trace = collector.trace(trace_id)
    assert list(collector.traces()) == [trace_id]
    assert shape_of(trace).lines() == expected_trace(nats_server.port).lines()
    assert orphans_of(trace) == []
    assert not any(WARNINGS in span.attributes for span in trace)
    assert all(span.resource["host.name"] == socket.gethostname() for span in trace)
    assert_failures_are_marked(trace)
    assert_what_is_handled_is_what_was_sent(trace)
    assert_page_shows(trace)


def assert_failures_are_marked(trace: list[ReceivedSpan]) -> None:
    failed = [(span.name, span.service) for span in trace if span.status_code == "ERROR"]
    assert failed == [("process orders.placed", "sales"), ("process orders.confirmed", "billing")]
    assert {span.status_code for span in trace} == {"ERROR", "UNSET"}


def assert_what_is_handled_is_what_was_sent(trace: list[ReceivedSpan]) -> None:
    by_id = {span.span_id: span for span in trace}
    handled = [span for span in trace if span.kind == "CONSUMER"]
    for span in handled:
        sent = by_id[span.parent_id]
        assert [span.attributes[name] for name in MESSAGE] == [sent.attributes[name] for name in MESSAGE]
    assert {str(span.attributes["messaging.nats.stream.name"]) for span in handled} == {"ORDERS", "STOCK"}


def assert_page_shows(trace: list[ReceivedSpan]) -> None:
    """Durations are those of one run, and two services get an event at the same time."""
    shown = next(block.text for block in blocks_of(PAGE) if block.language == "text")
    assert without_times(shown) == without_times(tree_of(trace))


def without_times(tree: str) -> list[str]:
    return sorted(re.sub(r"  [\d.]+ ms", "", line) for line in tree.splitlines())
