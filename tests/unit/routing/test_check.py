"""Checks: what may be declared, and how often a condition is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from callboard import BrokerMessageV1, BrokerMessageV1Payload, BrokerRequest, BrokerResponseException, command
from callboard.clock import VirtualClock
from callboard.errors import DeclarationError
from callboard.routing.action import Action
from callboard.routing.check import Check, checks_of
from callboard.routing.decorator import marks_of
from callboard.routing.option import HandlerOptions
from callboard.routing.stage import OPEN_STAGE, Stage
from tests.unit.routing.bench import declared

REQUEST = BrokerRequest(BrokerMessageV1("orders.place", BrokerMessageV1Payload(1)))


@pytest.mark.parametrize("no", [0, 1, 2])
async def test_condition_that_comes_true_in_time_lets_the_handler_run(no: int) -> None:
    """C46."""
    asked: list[BrokerRequest] = []

    def check(request: BrokerRequest) -> bool:
        asked.append(request)
        return len(asked) > no

    await Check(function=check, method=False, max_attempts=3, delay=0.0).require(REQUEST, OPEN_STAGE)

    assert asked == [REQUEST] * (no + 1)


async def test_condition_that_never_holds_is_a_refusal_that_names_it() -> None:
    """C46."""

    async def is_open(request: BrokerRequest) -> bool:
        return False

    with pytest.raises(BrokerResponseException, match="does not meet 'is_open'") as raised:
        await Check(function=is_open, method=False, max_attempts=2, delay=0.0).require(REQUEST, OPEN_STAGE)

    assert raised.value.status == 400


async def test_attempts_are_as_far_apart_as_declared() -> None:
    clock = VirtualClock()
    asked: list[float] = []

    async def is_open(request: BrokerRequest) -> bool:
        asked.append(clock.time())
        return len(asked) == 3

    check = Check(function=is_open, method=False, max_attempts=5, delay=60.0)
    waiting = asyncio.create_task(check.require(REQUEST, Stage(clock)))
    await clock.advance(3600)
    await waiting

    assert asked == [0.0, 60.0, 120.0]


async def test_what_a_checker_raises_is_raised() -> None:
    def is_open(request: BrokerRequest) -> bool:
        raise KeyError("database")

    with pytest.raises(KeyError):
        await Check(function=is_open, method=False).require(REQUEST, OPEN_STAGE)


def test_checks_stand_in_the_order_of_their_declaration_and_leave_the_functions_as_they_are() -> None:
    @command("orders.place")
    async def place() -> None: ...

    def first(request: BrokerRequest) -> bool:
        return True

    async def second(self: object, request: BrokerRequest) -> bool:
        return True

    assert place.check()(first) is first
    assert place.check(max_attempts=3, delay=1)(second) is second

    assert [(check.name, check.method, check.max_attempts, check.delay) for check in checks_of(place)] == [
        ("first", False, 10, 0.1),
        ("second", True, 3, 1.0),
    ]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"max_attemps": 3}, "unknown option 'max_attemps'; did you mean 'max_attempts'"),
        ({"max_attempts": 0}, "max_attempts: must be a whole number of at least 1, not 0"),
        ({"max_attempts": True}, "max_attempts: must be a whole number"),
        ({"delay": -1}, "delay: must be a number of seconds, 0 or more, not -1"),
        ({"delay": float("inf")}, "delay: must be a number of seconds"),
        ({"delay": "1"}, "delay: must be a number of seconds"),
    ],
)
def test_impossible_option_is_refused_where_it_is_written(options: dict[str, Any], rule: str) -> None:
    @command("orders.place")
    async def place() -> None: ...

    with pytest.raises(DeclarationError, match=f"place.check: .*{rule}|place.check: {rule}"):
        place.check(**options)


def none() -> bool:
    return True


def three(self: object, request: BrokerRequest, more: int) -> bool:
    return True


@pytest.mark.parametrize("checker", [none, three, 3], ids=["none", "three", "no function"])
def test_checker_takes_the_request(checker: Any) -> None:
    @command("orders.place")
    async def place() -> None: ...

    with pytest.raises(DeclarationError, match="takes the request"):
        place.check()(checker)


def test_checker_of_a_function_cannot_be_a_method() -> None:
    @command("orders.place")
    async def place() -> None: ...

    @place.check()
    def is_open(self: object, request: BrokerRequest) -> bool:
        return True

    with pytest.raises(DeclarationError, match="its check 'is_open' takes two arguments"):
        declared(place)


async def test_check_that_is_added_after_the_class_counts() -> None:
    class Desk:
        @command("orders.place")
        async def place(self) -> str:
            return "placed"

    [mark] = marks_of(Desk.place)
    action = Action.declare(Desk.place, mark, "Desk", HandlerOptions(), bound=True)

    @Desk.place.check(max_attempts=1)
    def is_open(request: BrokerRequest) -> bool:
        return False

    with pytest.raises(BrokerResponseException):
        await action.bind(Desk())(REQUEST)
