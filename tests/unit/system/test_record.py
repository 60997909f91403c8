"""Log records know the message that they were written for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import TracerProvider

from callboard import Actor, Supervisor, command, event
from callboard.brokers.memory import InMemoryBroker, InMemoryTransport
from callboard.instrumentation import Instrumentation, PassedOn
from callboard.system import ContextFilter, System
from callboard.telemetry import OpenTelemetryInstrumentation
from tests.jetstream.eventually import eventually

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
NAMES = ("trace_id", "span_id", "actor", "topic", "identifier", "attempt", "trace_url")
IDENTIFIER = UUID("0d4f3c52-8f0e-4a3b-a7f0-1f4f3f0f9b61")
JAEGER = "http://127.0.0.1:16686"

library = logging.getLogger("some.library")


class Orders(Actor):
    """Says what it does through somebody else's logger."""

    @command("orders.place")
    async def place(self, _dish: str) -> None:
        library.warning("placing")

    @command("orders.check")
    def check(self, _dish: str) -> None:
        library.warning("checking in a thread")

    @event("orders.placed")
    async def placed(self, _dish: str) -> None:
        self.later = asyncio.create_task(self._later())

    async def _later(self) -> None:
        library.warning("later")

    @command("orders.fail", retry=(0.0,))
    async def fail(self, _dish: str) -> None:
        raise ValueError("no soup")


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """All records of the test, with their fields."""
    found: list[logging.LogRecord] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    handler = Kept()
    handler.addFilter(ContextFilter())
    logging.getLogger().addHandler(handler)
    yield found
    logging.getLogger().removeHandler(handler)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in NAMES if getattr(record, name) != ""}


def saying(records: list[logging.LogRecord], text: str) -> list[logging.LogRecord]:
    return [record for record in records if text in record.getMessage()]


async def run(topic: str, *, instrumentation: Instrumentation | None = None, flags: str = "01") -> None:
    """One message, which came with a trace, through its handler to its settlement."""
    broker = InMemoryBroker()
    system = System(
        Supervisor([Orders]),
        transport=InMemoryTransport(broker),
        instrumentation=instrumentation or Instrumentation(),
    )
    async with system:
        upstream = PassedOn({"traceparent": f"00-{TRACE}-{SPAN}-{flags}"})
        token = upstream.enter()
        try:
            await system.board.publish(topic, "soup", identifier=IDENTIFIER)
        finally:
            upstream.leave(token)
        await eventually(lambda: all(not c.ack_pending and not c.pending for c in broker.consumers(topic)))


@pytest.mark.parametrize(("topic", "text"), [("orders.place", "placing"), ("orders.check", "checking in a thread")])
async def test_record_of_any_library_says_which_message_its_handler_works_on(
    records: list[logging.LogRecord], topic: str, text: str
) -> None:
    await run(topic)
    (record,) = saying(records, text)
    assert fields(record) == {
        "trace_id": TRACE,
        "span_id": SPAN,
        "actor": "Orders",
        "topic": topic,
        "identifier": str(IDENTIFIER),
        "attempt": 1,
    }


async def test_record_shows_the_span_that_is_recorded(records: list[logging.LogRecord]) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    await run("orders.place", instrumentation=OpenTelemetryInstrumentation(provider))
    (record,) = saying(records, "placing")
    found = fields(record)
    assert len(found["trace_id"]) == 32
    assert len(found["span_id"]) == 16
    assert found["span_id"] != SPAN


async def test_task_that_outlives_its_message_keeps_its_fields(records: list[logging.LogRecord]) -> None:
    await run("orders.placed")
    await eventually(lambda: bool(saying(records, "later")))
    assert fields(saying(records, "later")[0])["topic"] == "orders.placed"


async def test_each_failed_attempt_is_a_warning_with_its_number_and_the_last_has_the_address_of_the_trace(
    records: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_JAEGER_URL", f"{JAEGER}/")
    await run("orders.fail")
    first, second = saying(records, "failed (attempt")
    assert {record.levelno for record in (first, second)} == {logging.WARNING}
    assert [(fields(record)["attempt"], fields(record)["actor"]) for record in (first, second)] == [
        (1, "Orders"),
        (2, "Orders"),
    ]
    assert [fields(record).get("trace_url") for record in (first, second)] == [None, f"{JAEGER}/trace/{TRACE}"]


async def test_trace_that_is_not_recorded_has_no_address(
    records: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_JAEGER_URL", JAEGER)
    await run("orders.fail", flags="02")
    last = saying(records, "failed (attempt")[-1]
    assert fields(last)["trace_id"] == TRACE
    assert "trace_url" not in fields(last)


async def test_message_that_is_handled_is_no_news(records: list[logging.LogRecord]) -> None:
    await run("orders.placed")
    assert [r.getMessage() for r in records if r.levelno >= logging.INFO and "is running" not in r.getMessage()] == [
        "later"
    ]


def test_record_outside_handlers_has_empty_fields(records: list[logging.LogRecord]) -> None:
    library.warning("nothing in hand")
    assert {getattr(records[0], name) for name in NAMES} == {""}


def test_field_that_a_record_brings_along_stays(records: list[logging.LogRecord]) -> None:
    library.warning("about another one", extra={"topic": "orders.other"})
    assert fields(records[0]) == {"topic": "orders.other"}


@pytest.mark.parametrize("value", ["nonsense", "00-zz-zz-01", f"00-{TRACE}-{SPAN}-xx", "\udc80"])
def test_trace_header_that_nobody_can_read_costs_no_record(records: list[logging.LogRecord], value: str) -> None:
    upstream = PassedOn({"traceparent": value})
    token = upstream.enter()
    try:
        library.warning("still here")
    finally:
        upstream.leave(token)
    assert fields(records[0]) == {}
