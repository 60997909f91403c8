"""Topics get few names, however many topics there are."""

from __future__ import annotations

from callboard.telemetry.template import INBOX, LIMIT, OTHER, Templates

MANY = 10_000


def test_topic_is_named_by_the_most_specific_declared_template() -> None:
    templates = Templates(["airports.>", "airports.{code}.delay", "airports.EWR.delay"])
    assert templates.of("airports.EWR.delay") == "airports.EWR.delay"
    assert templates.of("airports.JFK.delay") == "airports.{code}.delay"
    assert templates.of("airports.JFK.closed") == "airports.>"


def test_topic_that_nobody_declared_names_itself() -> None:
    assert Templates(["orders.{id}.placed"]).of("orders.place") == "orders.place"


def test_inboxes_and_other_topics_of_the_system_share_one_name() -> None:
    templates = Templates()
    names = {templates.of(f"{prefix}.{number}") for prefix in ("_INBOX", "$JS") for number in range(MANY)}
    assert names == {INBOX}


def test_ten_thousand_topics_of_one_template_have_one_name() -> None:
    templates = Templates(["airports.{code}.delay"])
    assert {templates.of(f"airports.{number}.delay") for number in range(MANY)} == {"airports.{code}.delay"}


def test_ten_thousand_undeclared_topics_have_a_bounded_number_of_names() -> None:
    templates = Templates()
    first = {templates.of(f"orders.{number}") for number in range(MANY)}
    again = {templates.of(f"orders.{number}") for number in range(MANY)}
    assert len(first) == LIMIT + 1
    assert again == first
    assert templates.of("orders.5000") == "orders.>"


def test_ten_thousand_first_tokens_have_a_bounded_number_of_names() -> None:
    templates = Templates()
    names = {templates.of(f"stream{number}.placed") for number in range(MANY)}
    assert len(names) == 2 * LIMIT + 1
    assert OTHER in names


def test_topic_keeps_its_name_when_it_was_forgotten_meanwhile() -> None:
    templates = Templates()
    assert templates.of("orders.first") == "orders.first"
    for number in range(MANY):
        templates.of(f"orders.{number}")
    assert templates.of("orders.first") == "orders.first"


def test_template_declared_later_names_topics_that_were_seen_before() -> None:
    templates = Templates()
    assert templates.of("airports.EWR.delay") == "airports.EWR.delay"
    templates.declare(["airports.{code}.delay"])
    assert templates.of("airports.EWR.delay") == "airports.{code}.delay"
