"""Collecting the handlers of classes and functions."""

from __future__ import annotations

from typing import Any

import pytest

from callboard import (
    BrokerMessageV1,
    BrokerMessageV1Payload,
    BrokerRequest,
    BrokerResponseException,
    command,
    enroute,
    event,
    query,
)
from callboard.brokers.mailbox import Kind
from callboard.errors import (
    ActionNotFoundError,
    ConfigError,
    DeclarationError,
    MixedDecoratorKindsError,
    RedefinedActionError,
)
from callboard.routing.discovery import handlers_of
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.factory import EnrouteFactory
from tests.unit.routing.shop import Desk, log


def message(content: Any = None, topic: str = "orders.placed") -> BrokerMessageV1:
    return BrokerMessageV1(topic, BrokerMessageV1Payload(content))


class Shop:
    @command("orders.place")
    @command("orders.add")
    async def place(self) -> None: ...

    @query("orders.find")
    async def find(self) -> None: ...

    @event("orders.placed")
    async def placed(self) -> None: ...


class Noted:
    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    @event("orders.noted")
    def note(self, content: str) -> None: ...


def test_handlers_are_found_by_their_decorators() -> None:
    """C43: one method may have two topics."""
    factory = EnrouteFactory(Shop)

    assert list(factory.get_broker_command_query()) == [
        enroute.broker.command("orders.place"),
        enroute.broker.command("orders.add"),
        enroute.broker.query("orders.find"),
    ]
    assert list(factory.get_broker_event()) == [enroute.broker.event("orders.placed")]
    assert set(factory.get_broker_command_query_event()) == {
        *factory.get_broker_command_query(),
        *factory.get_broker_event(),
    }


async def test_handlers_of_a_class_share_one_instance_for_each_call() -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        @command("count.up")
        def up(self) -> int:
            self.count += 1
            return self.count

        @query("count.now")
        def now(self) -> int:
            return self.count

    factory = EnrouteFactory(Counter)
    one, other = factory.get_broker_command_query(), factory.get_broker_command_query()

    await one[command("count.up")](message())
    assert (await one[query("count.now")](message())).content == 1
    assert (await other[query("count.now")](message())).content == 0


async def test_classes_and_functions_may_be_named() -> None:
    """C47: each class gets the arguments that it takes."""
    factory = EnrouteFactory("tests.unit.routing.shop.Desk", "tests.unit.routing.shop:log", Noted)
    actions = factory.get_broker_command_query_event(prefix="> ", notes=[])

    assert set(actions) == {command("orders.place"), event("orders.placed"), event("orders.noted")}
    assert (await actions[command("orders.place")](message("tea"))).content == "> tea"


@pytest.mark.parametrize(
    "name",
    ["tests.unit.routing.shop.Dsk", "tests.unit.routing.shp.Desk", "Desk", "tests.unit.routing.shop.NOTHING", ""],
)
def test_name_that_is_nothing_with_handlers_is_refused(name: str) -> None:
    """C47."""
    with pytest.raises(ConfigError, match=r"EnrouteFactory: .* (cannot be imported|is no path)|no class or function"):
        EnrouteFactory(name)


def test_what_has_no_handlers_is_refused() -> None:
    with pytest.raises(ConfigError, match="no class or function with handlers"):
        EnrouteFactory(dict)


def test_argument_that_no_class_takes_is_refused() -> None:
    with pytest.raises(DeclarationError, match="no class takes 'prefx'; did you mean 'prefix'"):
        EnrouteFactory(Desk, log).get_broker_event(prefx="> ")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (command("orders.place"), command("orders.place")),
        (command("orders.place"), query("orders.*")),
    ],
)
def test_commands_and_queries_that_overlap_are_refused(one: Any, other: Any) -> None:
    """C44: also across what is collected."""

    @one
    async def first() -> None: ...

    @other
    async def second() -> None: ...

    with pytest.raises(RedefinedActionError, match="second: .* overlaps with .*first"):
        EnrouteFactory(first, second).get_broker_command_query_event()


async def test_two_event_handlers_on_one_topic_both_run() -> None:
    """C44: each with its own captures."""
    heard: list[str] = []

    @event("orders.{number}.placed")
    async def first(number: str) -> None:
        heard.append(f"first {number}")

    @event("orders.*.placed")
    def second(content: str) -> None:
        heard.append(f"second {content}")

    [(decorator, action)] = EnrouteFactory(first, second).get_broker_event().items()
    await action(message("tea", "orders.7.placed"))

    assert decorator == event("orders.*.placed")
    assert heard == ["first 7", "second tea"]


@pytest.mark.parametrize(
    ("errors", "judged"),
    [
        ([ValueError(1), None], ValueError),
        ([None, ValueError(1)], ValueError),
        ([BrokerResponseException("no"), KeyError(1)], KeyError),
        ([KeyError(1), BrokerResponseException("no")], KeyError),
        ([DeclarationError("here", "wrong"), ValueError(1)], ValueError),
    ],
)
async def test_failure_that_asks_for_most_is_judged_after_all_have_run(
    errors: list[BaseException | None], judged: type[BaseException]
) -> None:
    """C44."""
    ran: list[BaseException | None] = []

    def handler(error: BaseException | None) -> Any:
        @event("orders.placed")
        async def handle() -> None:
            ran.append(error)
            if error is not None:
                raise error

        return handle

    [action] = EnrouteFactory(*map(handler, errors)).get_broker_event().values()
    with pytest.raises(judged):
        await action(message())

    assert ran == errors


def test_event_handlers_that_share_a_topic_share_their_options() -> None:
    @event("orders.placed", timeout=3)
    async def first() -> None: ...

    @event("orders.placed")
    async def second() -> None: ...

    with pytest.raises(DeclarationError, match="give both the same options"):
        EnrouteFactory(first, second).get_broker_event()


class Own:
    retry = (1.0,)

    @command("orders.ignored")
    async def place(self) -> str:
        return "placed"

    async def find(self, number: str) -> str:
        return number

    @classmethod
    def __get_enroute__(cls) -> dict[str, Any]:
        return {"place": enroute.broker.command("orders.place"), "find": [enroute.broker.query("orders.{number}.find")]}


async def test_class_may_name_its_handlers_itself() -> None:
    """C47: its mapping replaces discovery."""
    actions = EnrouteFactory(Own).get_broker_command_query_event()
    dispatcher = BrokerDispatcher(actions)

    assert set(actions) == {command("orders.place"), query("orders.{number}.find")}
    assert (await dispatcher.get_action("orders.7.find")(message(topic="orders.7.find"))).content == "7"
    assert dispatcher.get_action("orders.place").policy.delays == (1.0,)
    with pytest.raises(ActionNotFoundError):
        dispatcher.get_action("orders.ignored")


def as_it_is(function: Any) -> Any:
    return function


def own(declared: Any, wrap: Any = staticmethod) -> type:
    def get_enroute(*_: Any) -> Any:
        return declared

    return type("Own", (Own,), {"__get_enroute__": wrap(get_enroute)})


@pytest.mark.parametrize(
    ("cls", "rule"),
    [
        (own({}, wrap=as_it_is), "make it a staticmethod or classmethod"),
        (own(["place"]), "maps names of methods to decorators"),
        (own({"plce": command("a.b")}), "'plce' is no method of the class; did you mean 'place'"),
        (own({"place": "orders.place"}), "must be a decorator such as"),
        (own({"place": 3}), "must be a decorator such as"),
        (own({"retry": command("a.b")}), "'retry' is no method"),
    ],
)
def test_mapping_that_cannot_be_is_refused(cls: type, rule: str) -> None:
    """C47."""
    with pytest.raises(DeclarationError, match=rule):
        handlers_of(cls)


def test_mapping_cannot_mix_kinds_on_one_method() -> None:
    """C43."""
    with pytest.raises(MixedDecoratorKindsError):
        handlers_of(own({"place": [command("a.b"), event("a.c")]}))


async def test_checks_and_hooks_come_along() -> None:
    """C45, C46."""

    class Checked:
        @command("orders.place")
        async def place(self, content: int) -> int:
            return content

        @place.check(max_attempts=1)
        def is_positive(self, request: BrokerRequest) -> bool:
            return bool(request.raw.content > 0)

        def _pre_command_handle(self, request: BrokerRequest) -> BrokerRequest:
            return BrokerRequest(message(request.raw.content - 1))

    [(decorator, action)] = EnrouteFactory(Checked).get_broker_command_query().items()

    assert decorator.kind is Kind.COMMAND
    assert (await action(message(2))).content == 1
    with pytest.raises(BrokerResponseException, match="does not meet 'is_positive'"):
        await action(message(1))
