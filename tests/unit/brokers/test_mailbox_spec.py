"""What a mailbox is called. A changed name is a new durable: its messages would be handled again from the start."""

from __future__ import annotations

import re
from typing import Any

import pytest
from attrs import evolve

from callboard.brokers.mailbox import Kind, MailboxSpec, Order, Start
from callboard.brokers.topic import TopicTemplate


def spec(kind: Kind, topic: str, **options: Any) -> MailboxSpec:
    return MailboxSpec(kind, TopicTemplate.parse(topic), "flights", "Delays", **options)


@pytest.mark.parametrize(
    ("mailbox", "durable"),
    [
        (spec(Kind.COMMAND, "passengers.rebook"), "command-passengers_rebook-ec365752"),
        (spec(Kind.QUERY, "airports.{code}.delay"), "query-airports_delay-703ca613"),
        (spec(Kind.EVENT, "flights.departed"), "event-flights-Delays-flights_departed-6383dd61"),
        (spec(Kind.EVENT, "flights.>"), "event-flights-Delays-flights-f1c44a16"),
    ],
    ids=["command", "query with a capture", "event", "event with a wildcard"],
)
def test_durable_names_are_pinned(mailbox: MailboxSpec, durable: str) -> None:
    assert mailbox.durable == durable


@pytest.mark.parametrize("kind", [Kind.COMMAND, Kind.QUERY])
def test_one_durable_serves_everyone_who_handles_a_command_or_query(kind: Kind) -> None:
    mailbox = spec(kind, "passengers.rebook")

    assert kind.unicast
    assert evolve(mailbox, service="other", actor="Other").durable == mailbox.durable


def test_each_actor_of_each_service_has_its_own_durable_for_an_event() -> None:
    mailbox = spec(Kind.EVENT, "flights.departed")
    others = [evolve(mailbox, service="other"), evolve(mailbox, actor="Other")]

    assert not Kind.EVENT.unicast
    assert len({each.durable for each in [mailbox, *others]}) == 3


def test_each_kind_has_its_own_durable() -> None:
    assert len({spec(kind, "flights.departed").durable for kind in Kind}) == len(Kind)


def test_names_of_captures_are_no_part_of_the_durable() -> None:
    assert spec(Kind.QUERY, "airports.{code}.delay").durable == spec(Kind.QUERY, "airports.*.delay").durable


def test_filters_that_read_alike_have_different_durables() -> None:
    filters = ["flights.*", "flights.>", "flights", "flights.a_b", "flights.a.b"]

    assert len({spec(Kind.COMMAND, text).durable for text in filters}) == len(filters)


def test_options_are_no_part_of_the_durable() -> None:
    mailbox = spec(Kind.EVENT, "flights.departed")
    other = evolve(mailbox, concurrency=9, ack_wait=5.0, start=Start.NEW, order=Order.STRICT, renamed_from="Old")

    assert other.durable == mailbox.durable


@pytest.mark.parametrize("topic", ["flights." + "long." * 150 + "end", "flüge.größe", "flights.a/b\\c"])
def test_durable_is_a_name_that_the_server_takes(topic: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,100}", spec(Kind.EVENT, topic).durable)


def test_former_durable_of_an_event_is_that_of_the_former_actor() -> None:
    renamed = spec(Kind.EVENT, "flights.departed", renamed_from="Old")

    assert renamed.former_durable == evolve(renamed, actor="Old", renamed_from=None).durable


def test_renaming_an_actor_does_not_touch_its_commands() -> None:
    renamed = spec(Kind.COMMAND, "passengers.rebook", renamed_from="Old")

    assert renamed.former_durable == renamed.durable


def test_actor_that_was_never_renamed_has_no_former_durable() -> None:
    assert spec(Kind.EVENT, "flights.departed").former_durable is None
