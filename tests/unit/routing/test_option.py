"""Options: what is accepted, what is refused and how the refusal helps."""

from __future__ import annotations

import math
from typing import Any

import pytest

from callboard.brokers.mailbox import Order, Start
from callboard.errors import DeclarationError
from callboard.routing.option import FailureAction, HandlerOptions


def checked(**values: Any) -> HandlerOptions:
    return HandlerOptions.checked("Desk", values)


def test_all_options_are_read() -> None:
    options = checked(
        concurrency=4,
        timeout=10,
        retry=[0, 1.5],
        failures={KeyError: "discard"},
        ack_wait=5,
        start="new",
        order="strict",
    )

    assert options == HandlerOptions(
        concurrency=4,
        timeout=10.0,
        retry=(0.0, 1.5),
        failures={KeyError: FailureAction.DISCARD},
        ack_wait=5.0,
        start=Start.NEW,
        order=Order.STRICT,
    )


def test_none_says_nothing() -> None:
    assert checked(timeout=None) == HandlerOptions()


def test_empty_retry_is_not_nothing() -> None:
    assert checked(retry=()).retry == ()


def test_unknown_option_is_named_with_the_nearest() -> None:
    with pytest.raises(DeclarationError, match=r"Desk: unknown option 'time_out'; did you mean 'timeout'\?"):
        checked(time_out=3)


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("concurrency", 0, "a whole number of at least 1"),
        ("concurrency", 1.5, "a whole number of at least 1"),
        ("concurrency", True, "a whole number of at least 1"),
        ("timeout", 0, "more than 0 seconds"),
        ("timeout", -1, "more than 0 seconds"),
        ("timeout", "10", "a number of seconds"),
        ("timeout", math.inf, "a number of seconds"),
        ("timeout", math.nan, "a number of seconds"),
        ("timeout", True, "a number of seconds"),
        ("retry", 5, "a sequence of delays"),
        ("retry", "0, 1", "a sequence of delays"),
        ("retry", (0, -1), "cannot be negative"),
        ("retry", (0, "1"), "a number of seconds"),
        ("failures", [KeyError], "map exception types to actions"),
        ("failures", {"KeyError": "retry"}, "'KeyError' is no exception type"),
        ("failures", {KeyError: "rejct"}, "did you mean 'reject'?"),
        ("ack_wait", 0.5, "at least 1 second"),
        ("start", "last", "one of first, new"),
        ("order", "strikt", "did you mean 'strict'?"),
    ],
)
def test_impossible_value_is_refused_with_option_and_rule(option: str, value: Any, rule: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        checked(**{option: value})

    assert str(raised.value).startswith(f"Desk: {option}")
    assert rule in str(raised.value)


def test_stronger_options_win_and_gaps_are_filled() -> None:
    handler = HandlerOptions(timeout=1.0, retry=())

    assert handler.over(HandlerOptions(timeout=9.0, retry=(5.0,), concurrency=3)) == HandlerOptions(
        timeout=1.0, retry=(), concurrency=3
    )


def test_strict_order_contradicts_concurrency() -> None:
    with pytest.raises(DeclarationError, match="concurrency=2 contradicts it"):
        HandlerOptions(order=Order.STRICT, concurrency=2).check_together("Desk")


def test_strict_order_goes_with_one_at_a_time() -> None:
    HandlerOptions(order=Order.STRICT, concurrency=1).check_together("Desk")
    HandlerOptions(order=Order.STRICT).check_together("Desk")
