"""The metrics as an SDK collects them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    DataPointT,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
)

from callboard.instrumentation import Endpoint, Incoming
from callboard.statistics import DURATION_BUCKETS
from callboard.telemetry import OpenTelemetryInstrumentation
from callboard.telemetry.instrument import INSTRUMENTS
from callboard.telemetry.metric import Metrics

MakeDelivery = Callable[..., Incoming]


class Collected:
    """A meter provider, and what it has collected."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def metrics(self) -> dict[str, Metric]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        assert len({metric.name for metric in found}) == len(found)
        return {metric.name: metric for metric in found}

    def points(self, name: str) -> Sequence[DataPointT]:
        metric = self.metrics().get(name)
        return [] if metric is None else [*metric.data.data_points]

    def series(self) -> set[tuple[str, frozenset[tuple[str, Any]]]]:
        return {
            (metric.name, frozenset((point.attributes or {}).items()))
            for metric in self.metrics().values()
            for point in metric.data.data_points
        }

    def value(self, name: str, attributes: Mapping[str, str]) -> float:
        [point] = [point for point in self.points(name) if point.attributes == attributes]
        assert isinstance(point, NumberDataPoint)
        return point.value


@pytest.fixture
def collected() -> Iterator[Collected]:
    collected = Collected()
    yield collected
    collected.provider.shutdown()


@pytest.fixture
def telemetry(collected: Collected) -> OpenTelemetryInstrumentation:
    return OpenTelemetryInstrumentation(meter_provider=collected.provider)


def settle(
    telemetry: OpenTelemetryInstrumentation, endpoint: Endpoint, delivery: Incoming, error_type: str = ""
) -> None:
    """What the handler loop does with a delivery that took 0.2 s."""
    mailbox = telemetry.statistics.mailbox(delivery.durable, endpoint.actor, endpoint.topic)
    mailbox.settled(0.2, error_type, again=delivery.delivered > 1)
    assert telemetry.measures
    telemetry.measure(delivery.durable, 0.2, error_type)


def count_everything(telemetry: OpenTelemetryInstrumentation, endpoint: Endpoint, delivery: Incoming) -> None:
    """Something of each kind."""
    settle(telemetry, endpoint, delivery)
    settle(telemetry, endpoint, delivery, "ValueError")
    telemetry.sent("publish", "orders.placed", 0.1)
    telemetry.sent("reply", "", 0.1, "PublishUnknownError")
    statistics = telemetry.statistics
    [mailbox] = statistics.mailboxes.values()
    mailbox.stream = "AIRPORTS"
    mailbox.dead_letters["ValueError"] += 1
    mailbox.lag_now, mailbox.ack_pending_now, mailbox.age_now, mailbox.credit_now = 5, 2, 1.5, 8
    statistics.restarts["Delays"] += 1
    statistics.states = lambda: {("Delays", "running"): 1, ("Delays", "parked"): 0}
    statistics.outbox_now["outbox"] = 3


def test_every_metric_of_the_table_is_there_with_its_unit_and_no_other_attributes(
    collected: Collected, telemetry: OpenTelemetryInstrumentation, endpoint: Endpoint, delivery: MakeDelivery
) -> None:
    count_everything(telemetry, endpoint, delivery())

    metrics = collected.metrics()

    assert metrics.keys() == {spec.name for spec in INSTRUMENTS}
    for spec in INSTRUMENTS:
        metric = metrics[spec.name]
        assert (metric.unit, metric.description) == (spec.unit, spec.description)
        used = {key for point in metric.data.data_points for key in point.attributes or {}}
        assert used == set(spec.attributes)


def test_numbers_are_those_that_were_counted(
    collected: Collected, telemetry: OpenTelemetryInstrumentation, endpoint: Endpoint, delivery: MakeDelivery
) -> None:
    count_everything(telemetry, endpoint, delivery(delivered=2))

    place = {
        "callboard.actor": "Delays",
        "messaging.destination.template": "airports.{code}.delay",
        "messaging.consumer.group.name": "delay-1a2b3c4d",
    }
    for name, number in {
        "callboard.mailbox.lag": 5,
        "callboard.mailbox.ack_pending": 2,
        "callboard.mailbox.age": 1.5,
        "callboard.mailbox.credit": 8,
        "callboard.redeliveries": 2,
        "callboard.duplicates": 0,
    }.items():
        assert collected.value(name, place) == number, name
    assert collected.value("callboard.dead_letters", place | {"error.type": "ValueError"}) == 1
    assert collected.value("callboard.actor.state", {"callboard.actor": "Delays", "callboard.actor.state": "running"})
    assert collected.value("callboard.outbox.pending", {"callboard.queue": "outbox"}) == 3


def test_durations_have_the_buckets_of_the_conventions(
    collected: Collected, telemetry: OpenTelemetryInstrumentation, endpoint: Endpoint, delivery: MakeDelivery
) -> None:
    settle(telemetry, endpoint, delivery())

    [point] = collected.points("messaging.process.duration")

    assert isinstance(point, HistogramDataPoint)
    assert tuple(point.explicit_bounds) == DURATION_BUCKETS
    assert (point.count, point.sum) == (1, 0.2)


def test_inboxes_topics_and_sequences_without_end_make_no_series_without_end(
    collected: Collected, telemetry: OpenTelemetryInstrumentation, endpoint: Endpoint, delivery: MakeDelivery
) -> None:
    """Once each name that may stand for a topic has been seen, the number of series stays as it is."""
    telemetry.declare(["orders.{number}.placed", "airports.{code}.delay"])

    def send(number: int) -> None:
        telemetry.sent("publish", f"orders.{number}.placed", 0.01)
        telemetry.sent("publish", f"never.declared.{number}", 0.01)
        telemetry.sent("request", f"_INBOX.{number}.{number}", 0.01)
        settle(telemetry, endpoint, delivery(topic=f"airports.A{number}.delay", sequence=number))

    for number in range(200):
        send(number)
    before = collected.series()
    for number in range(200, 10_200):
        send(number)

    assert collected.series() == before
    assert sum(name == "messaging.client.consumed.messages" for name, _ in before) == 1
    assert len(before) < 350


def test_instrumentations_on_one_provider_are_added_up_and_gauges_are_not(
    collected: Collected, telemetry: OpenTelemetryInstrumentation
) -> None:
    other = OpenTelemetryInstrumentation(meter_provider=collected.provider)
    for each in (telemetry, other):
        each.sent("publish", "orders.placed", 0.1)
        each.statistics.outbox_now["outbox"] = 7

    [sent] = collected.points("messaging.client.sent.messages")

    assert isinstance(sent, NumberDataPoint)
    assert sent.value == 2
    assert collected.value("callboard.outbox.pending", {"callboard.queue": "outbox"}) == 7


def test_numbers_end_with_whoever_counted_them(collected: Collected) -> None:
    short_lived = OpenTelemetryInstrumentation(meter_provider=collected.provider)
    short_lived.sent("publish", "orders.placed", 0.1)
    assert collected.points("messaging.client.sent.messages")

    del short_lived

    assert not collected.points("messaging.client.sent.messages")


def test_mailbox_that_no_server_was_asked_about_has_no_lag(
    collected: Collected, telemetry: OpenTelemetryInstrumentation
) -> None:
    """0 would be a lie, and resolve an alert."""
    telemetry.statistics.mailbox("delay-1a2b3c4d", "Delays", "airports.{code}.delay")

    assert not collected.points("callboard.mailbox.lag")
    assert collected.points("callboard.redeliveries")


def test_number_that_cannot_be_read_costs_its_metric_and_no_other(
    collected: Collected, telemetry: OpenTelemetryInstrumentation, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Mapping[tuple[str, str], int]:
        raise RuntimeError("no states")

    telemetry.statistics.states = fail
    telemetry.sent("publish", "orders.placed", 0.1)

    for _ in range(2):
        assert collected.points("messaging.client.sent.messages")
        assert not collected.points("callboard.actor.state")

    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_lost_spans_are_those_of_the_process(collected: Collected) -> None:
    Metrics.of(collected.provider).dropped = lambda: 12

    assert collected.value("callboard.spans.dropped", {}) == 12


def test_nobody_is_asked_to_measure_durations_without_a_provider() -> None:
    """The hot path pays for a question, and for no answer."""
    assert not OpenTelemetryInstrumentation().measures
