"""A handler with its options, its mailbox and its place in telemetry."""

from __future__ import annotations

from typing import Any

import pytest

from callboard import command, event
from callboard.brokers.mailbox import Kind, Order, Start
from callboard.errors import ActionNotFoundError, DeclarationError
from callboard.routing.action import Action
from callboard.routing.decorator import marks_of
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.option import HandlerOptions
from tests.unit.routing.bench import declared


@command("orders.{number}.cancel", timeout=3, concurrency=2, ack_wait=9)
async def cancel(number: str) -> str:
    return number


@event("orders.placed", start="new", order="strict")
def placed() -> None: ...


def test_action_says_what_the_decorator_said() -> None:
    [action] = declared(cancel)

    assert (action.kind, action.template.filter, action.asynchronous) == (Kind.COMMAND, "orders.*.cancel", True)
    assert action.options == HandlerOptions(timeout=3.0, concurrency=2, ack_wait=9.0)


def test_plain_function_is_not_asynchronous() -> None:
    assert not declared(placed)[0].asynchronous


def test_options_of_the_actor_fill_the_gaps() -> None:
    [mark] = marks_of(cancel)
    action = Action.declare(cancel, mark, "Desk", HandlerOptions(timeout=60.0, retry=(1.0,)), bound=False)

    assert (action.options.timeout, action.policy.delays) == (3.0, (1.0,))


def test_options_that_contradict_each_other_are_refused_with_the_handler() -> None:
    [mark] = marks_of(placed)
    with pytest.raises(DeclarationError, match=r"placed \(event 'orders.placed'\)"):
        Action.declare(placed, mark, "Desk", HandlerOptions(concurrency=8), bound=False)


def test_mailbox_takes_over_the_options() -> None:
    mailbox = declared(cancel)[0].mailbox("shop", renamed_from="Old")

    assert (mailbox.service, mailbox.actor, mailbox.renamed_from) == ("shop", "Bench", "Old")
    assert (mailbox.concurrency, mailbox.ack_wait) == (2, 9.0)
    assert (mailbox.start, mailbox.order) == (Start.FIRST, Order.STREAM)


def test_mailbox_of_an_event_may_start_new_and_strict() -> None:
    mailbox = declared(placed)[0].mailbox("shop")

    assert (mailbox.start, mailbox.order, mailbox.ack_wait) == (Start.NEW, Order.STRICT, 30.0)


def test_endpoint_names_the_template_not_the_topic() -> None:
    endpoint = declared(cancel)[0].endpoint

    assert (endpoint.topic, endpoint.kind, endpoint.actor) == ("orders.{number}.cancel", "command", "Bench")


def dispatcher(*functions: Any) -> BrokerDispatcher:
    return BrokerDispatcher([action for function in functions for action in declared(function)])


def test_unknown_topic_is_named_with_the_nearest() -> None:
    """C28."""
    with pytest.raises(ActionNotFoundError, match=r"'orders.plced'; did you mean 'orders.placed'\?"):
        dispatcher(placed).get_action("orders.plced")


def test_most_specific_topic_wins() -> None:
    @event("orders.>")
    def anything() -> None: ...

    @event("orders.*")
    def something() -> None: ...

    routes = dispatcher(anything, something, placed)

    assert routes.get_action("orders.placed").function is placed
    assert routes.get_action("orders.cancelled").function is something
    assert routes.get_action("orders.1.cancelled").function is anything
