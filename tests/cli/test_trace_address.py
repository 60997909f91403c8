"""`callboard publish` and `callboard request` say where their trace can be looked at."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import nats
import pytest

from callboard.embedded import EmbeddedServer
from callboard.testing import SpanReceiver
from tests.cli.command import CommandLine

pytestmark = pytest.mark.usefixtures("nats_binary")

JAEGER = "http://127.0.0.1:16686"


@pytest.fixture
def receiver() -> Iterator[SpanReceiver]:
    with SpanReceiver() as receiver:
        yield receiver


@pytest.fixture
def traced(served: CommandLine, receiver: SpanReceiver) -> CommandLine:
    """The command, with a collector and the address of Jaeger."""
    served.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.endpoint
    served.environment["CALLBOARD_JAEGER_URL"] = JAEGER
    return served


@pytest.fixture
async def _stream(nats_server: EmbeddedServer) -> AsyncIterator[None]:
    """The stream of the topics, which publishing from outside does not create."""
    client = await nats.connect(nats_server.url, allow_reconnect=False)
    await client.jetstream().add_stream(name="ORDERS", subjects=["orders.>"])
    yield
    await client.close()


@pytest.mark.usefixtures("_stream")
async def test_publish_prints_the_address_of_the_trace_that_the_collector_got(
    traced: CommandLine, receiver: SpanReceiver
) -> None:
    result = await traced("publish", "orders.slow", '"a"')
    (trace_id,) = receiver.traces()
    assert (result.code, result.err) == (0, f"trace: {JAEGER}/trace/{trace_id}\n")
    assert "trace" not in result.out


async def test_request_that_nobody_answers_prints_it_too(traced: CommandLine, receiver: SpanReceiver) -> None:
    result = await traced("request", "orders.add", "[1]")
    (trace_id,) = receiver.traces()
    assert result.code == 5
    assert result.err.splitlines()[0] == f"trace: {JAEGER}/trace/{trace_id}"


@pytest.mark.usefixtures("_stream")
@pytest.mark.parametrize(
    "environment",
    [{"CALLBOARD_JAEGER_URL": ""}, {"OTEL_TRACES_SAMPLER": "always_off"}, {"OTEL_SDK_DISABLED": "true"}],
    ids=["no Jaeger", "not sampled", "no telemetry"],
)
async def test_without_a_page_there_is_no_address(traced: CommandLine, environment: dict[str, str]) -> None:
    traced.environment.update(environment)
    result = await traced("publish", "orders.slow", '"a"')
    assert (result.code, result.err) == (0, "")
