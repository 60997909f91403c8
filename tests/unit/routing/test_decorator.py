"""Decorators (C43)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from callboard import command, enroute, event, query
from callboard.brokers.mailbox import Kind
from callboard.errors import DeclarationError, MixedDecoratorKindsError, TopicError
from callboard.routing.decorator import marks_of


def test_decorated_function_stays_callable_as_it_was() -> None:
    def double(number: int) -> int:
        return 2 * number

    assert command("numbers.double")(double) is double
    assert double(2) == 4


def test_one_function_may_listen_on_two_topics_in_the_order_of_its_decorators() -> None:
    """C43."""

    @command("users.create")
    @command("users.add")
    def create() -> None: ...

    assert [mark.template.text for mark in marks_of(create)] == ["users.create", "users.add"]


@pytest.mark.parametrize(("first", "second"), [(command, event), (event, query), (query, command)])
def test_kinds_cannot_be_mixed_on_one_function(first: Callable[..., Any], second: Callable[..., Any]) -> None:
    """C43."""

    def create() -> None: ...

    first("users.create")(create)
    with pytest.raises(MixedDecoratorKindsError, match="write a second method"):
        second("users.created")(create)


@pytest.mark.parametrize(
    ("seed", "kind"),
    [
        (enroute.broker.command, Kind.COMMAND),
        (enroute.broker.query, Kind.QUERY),
        (enroute.broker.event, Kind.EVENT),
    ],
)
def test_seed_names_are_the_same_decorators(seed: Callable[..., Any], kind: Kind) -> None:
    def create() -> None: ...

    [mark] = marks_of(seed("users.create", timeout=3)(create))
    assert (mark.kind, mark.template.text, mark.options.timeout) == (kind, "users.create", 3.0)


def test_decorator_without_a_topic_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"@command\('orders.place'\)"):
        command(lambda: None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_topic_that_nobody_could_publish_to_is_refused() -> None:
    with pytest.raises(TopicError):
        command("orders..place")


def test_option_is_checked_where_it_is_written() -> None:
    with pytest.raises(DeclarationError, match=r"@command\('orders.place'\): unknown option 'retries'"):
        command("orders.place", retries=3)


def test_what_cannot_be_called_is_no_handler() -> None:
    with pytest.raises(DeclarationError, match="decorates functions and ordinary methods, not 3"):
        command("orders.place")(3)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


def test_undecorated_function_has_no_marks() -> None:
    assert marks_of(len) == ()


def test_decorator_says_what_it_was_given() -> None:
    decorator = enroute.broker.command("users.{name}", timeout=3)

    assert (decorator.kind, decorator.topic, decorator.options.timeout) == (Kind.COMMAND, "users.{name}", 3.0)


def test_decorators_are_equal_by_kind_and_topic() -> None:
    handlers = {command("users.create", timeout=3): 1}

    assert handlers[enroute.broker.command("users.create")] == 1
    assert {query("users.create"), event("users.create"), command("users.add")}.isdisjoint(handlers)
