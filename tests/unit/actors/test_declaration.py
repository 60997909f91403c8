"""What a class or function declares, and what is refused where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from callboard import Actor, BrokerRequest, BrokerResponse, command, event, query
from callboard.actors import declaration_of, is_actor
from callboard.errors import (
    ClosedError,
    DeclarationError,
    MixedDecoratorKindsError,
    RedefinedActionError,
    TopicError,
)
from callboard.routing.discovery import check_unicast
from callboard.routing.option import FailureAction

Handler = Callable[..., Any]
Decorator = Callable[[Handler], Handler]


class Desk(Actor):
    concurrency = 4
    timeout = 10.0
    publishes = {"orders.placed": dict[str, Any], "orders.{number}.changed": int}

    @command("orders.place", timeout=1)
    async def place(self, content: int) -> int:
        return content

    @query("orders.count")
    async def count(self) -> int:
        return 0


def topics(target: Any) -> list[str]:
    return [action.template.text for action in declaration_of(target).actions]


def test_actor_declares_its_handlers_in_order() -> None:
    declaration = declaration_of(Desk)

    assert (declaration.name, declaration.concurrency, declaration.target) == ("Desk", 4, Desk)
    assert topics(Desk) == ["orders.place", "orders.count"]
    assert declaration.publishes == {"orders.placed": dict[str, Any], "orders.{number}.changed": int}


def test_option_of_the_handler_is_stronger_than_the_actors() -> None:
    place, count = declaration_of(Desk).actions

    assert (place.options.timeout, count.options.timeout) == (1.0, 10.0)


def test_actor_runs_one_message_at_a_time_unless_it_says_otherwise() -> None:
    class Quiet(Actor):
        @command("orders.place")
        async def place(self) -> None: ...

    assert declaration_of(Quiet).concurrency == 1


def test_method_with_two_topics_handles_both() -> None:
    """C43."""

    class Users(Actor):
        @command("users.create")
        @command("users.add")
        async def create(self) -> None: ...

    assert topics(Users) == ["users.create", "users.add"]


def test_command_and_event_on_one_method_are_refused() -> None:
    """C43."""
    with pytest.raises(MixedDecoratorKindsError):

        class Users(Actor):  # pyright: ignore[reportUnusedClass]
            @command("users.create")
            @event("users.created")
            async def create(self) -> None: ...


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (command("orders.place"), command("orders.place")),
        (command("orders.place"), query("orders.place")),
        (command("orders.*"), query("orders.place")),
        (query("orders.{number}"), query("orders.*")),
        (command("orders.>"), command("orders.eu.place")),
    ],
)
def test_commands_and_queries_that_overlap_are_refused(one: Decorator, other: Decorator) -> None:
    """C44."""
    with pytest.raises(RedefinedActionError, match="a command or query has one handler"):

        class Overlapping(Actor):  # pyright: ignore[reportUnusedClass]
            @one
            async def first(self, number: str = "") -> None: ...

            @other
            async def second(self, number: str = "") -> None: ...


def test_two_event_handlers_on_one_topic_are_two_handlers() -> None:
    """C44."""

    class Bookkeeping(Actor):
        @event("orders.placed")
        async def count(self) -> None: ...

        @event("orders.*")
        async def log(self) -> None: ...

    assert topics(Bookkeeping) == ["orders.placed", "orders.*"]


def test_event_may_overlap_with_a_command() -> None:
    class Both(Actor):
        @command("orders.place")
        async def place(self) -> None: ...

        @event("orders.*")
        async def log(self) -> None: ...

    assert topics(Both) == ["orders.place", "orders.*"]


def test_overlap_across_actors_names_both() -> None:
    class Other(Actor):
        @command("orders.*")
        async def anything(self) -> None: ...

    with pytest.raises(RedefinedActionError, match=r"Other\.anything.*overlaps.*Desk\.place"):
        check_unicast([*declaration_of(Desk).actions, *declaration_of(Other).actions])


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("concurency", 4, "concurrency"),
        ("timout", 3.0, "timeout"),
        ("ackwait", 3.0, "ack_wait"),
        ("failure", {}, ""),
        ("middelware", (), "middleware"),
        ("middlewares", (), "middleware"),
    ],
)
def test_misspelled_option_is_refused_with_the_right_one(name: str, value: Any, hint: str) -> None:
    with pytest.raises(DeclarationError, match=f"unknown option '{name}'; did you mean '{hint}"):
        type("Desk", (Actor,), {name: value})


@pytest.mark.parametrize("name", ["orders", "desk", "timeouts", "_timout", "counter", "limit", "time"])
def test_attribute_of_the_users_own_is_left_alone(name: str) -> None:
    assert issubclass(type("Desk", (Actor,), {name: 3}), Actor)


def test_method_named_like_an_option_is_refused_with_the_reason() -> None:
    async def order(self: Actor) -> None: ...

    with pytest.raises(
        DeclarationError, match=r"Desk\.order: 'order' is the name of an option; give the method another"
    ):
        type("Desk", (Actor,), {"order": command("orders.place")(order)})


def test_impossible_option_is_refused_at_the_class() -> None:
    with pytest.raises(DeclarationError, match="Desk: concurrency: must be a whole number of at least 1, not 0"):
        type("Desk", (Actor,), {"concurrency": 0})


@pytest.mark.parametrize(
    ("publishes", "error"),
    [(["orders.placed"], DeclarationError), ({"orders..placed": int}, TopicError), ({"orders.*": int}, TopicError)],
    ids=["list", "empty token", "wildcard"],
)
def test_impossible_publishes_are_refused(publishes: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        type("Desk", (Actor,), {"publishes": publishes})


def test_name_of_the_class_is_the_actors_name_unless_it_says_otherwise() -> None:
    class Renamed(Desk):
        name = "front-desk"

    class Below(Renamed):
        pass

    assert [declaration_of(cls).name for cls in (Desk, Renamed, Below)] == ["Desk", "front-desk", "Below"]


@pytest.mark.parametrize("name", ["", "front desk", "front.desk", "a|b"])
def test_name_that_no_durable_can_have_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match="letters, digits, '-' and '_'"):
        type("Desk", (Actor,), {"name": name})


def test_former_name_goes_to_the_mailboxes() -> None:
    class Renamed(Actor):
        renamed_from = "Desk"

        @event("orders.placed")
        async def log(self) -> None: ...

    [(_, mailbox)] = declaration_of(Renamed).mailboxes("shop")

    assert (mailbox.service, mailbox.actor, mailbox.renamed_from) == ("shop", "Renamed", "Desk")


def test_subclass_inherits_handlers_and_options() -> None:
    class Below(Desk):
        concurrency = 2

        @event("orders.placed")
        async def log(self) -> None: ...

    assert topics(Below) == ["orders.place", "orders.count", "orders.placed"]
    assert (declaration_of(Below).concurrency, declaration_of(Below).options.timeout) == (2, 10.0)


def test_handler_that_a_subclass_writes_anew_replaces_the_inherited_one() -> None:
    class Below(Desk):
        @command("orders.place.quickly")
        async def place(self, content: int) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
            return content

    assert topics(Below) == ["orders.place.quickly", "orders.count"]


def test_method_that_hides_a_handler_is_none() -> None:
    class Below(Desk):
        async def place(self, content: int) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
            return content

    assert topics(Below) == ["orders.count"]


@pytest.mark.parametrize("wrapper", [staticmethod, classmethod])
def test_handler_that_is_no_ordinary_method_is_refused(wrapper: Any) -> None:
    """It would never be found, and its messages never handled."""

    def place() -> None: ...

    with pytest.raises(DeclarationError, match="Desk.place: handlers are ordinary methods"):
        type("Desk", (Actor,), {"place": wrapper(command("orders.place")(place))})


def test_any_class_with_handlers_is_an_actor() -> None:
    class Plain:
        retry = (1,)

        @command("orders.place")
        def place(self) -> None: ...

    declaration = declaration_of(Plain)

    assert is_actor(Plain)
    assert (declaration.name, declaration.actions[0].policy.delays) == ("Plain", (1.0,))


def test_function_with_a_decorator_is_an_actor() -> None:
    @event("orders.placed", concurrency=3, failures={KeyError: "discard"})
    async def log(content: int) -> None: ...

    declaration = declaration_of(log)

    assert is_actor(log)
    assert (declaration.name, declaration.target, declaration.concurrency) == ("log", log, 3)
    assert declaration.actions[0].policy.rules == {KeyError: FailureAction.DISCARD}


@pytest.mark.parametrize("target", [int, len, 3, "orders", Actor], ids=repr)
def test_what_has_no_handlers_is_no_actor(target: Any) -> None:
    assert not is_actor(target)
    with pytest.raises(DeclarationError, match=r"no handlers|no actor"):
        declaration_of(target)


async def test_actor_that_does_not_run_cannot_publish() -> None:
    with pytest.raises(ClosedError, match="an actor that does not run yet"):
        await Desk().publish("orders.placed")


async def around(request: BrokerRequest, call_next: Any) -> BrokerResponse:
    response: BrokerResponse = await call_next(request)
    return response


def test_middleware_of_a_class_is_checked_where_it_is_declared() -> None:
    """C45."""

    class Logged(Desk):
        middleware = (around,)

    assert [action.pipeline.middleware for action in declaration_of(Logged).actions] == [(around,), (around,)]
    with pytest.raises(DeclarationError, match="Broken: middleware is an async callable"):
        type("Broken", (Desk,), {"middleware": (print,)})


def test_misspelled_hook_is_refused_with_the_right_kind() -> None:
    """C45: nobody would ever call it."""
    with pytest.raises(DeclarationError, match=r"_pre_comand_handle: is no hook.*did you mean 'command'"):

        class Misspelled(Desk):  # pyright: ignore[reportUnusedClass]
            def _pre_comand_handle(self, request: BrokerRequest) -> BrokerRequest:
                return request


def test_class_may_name_its_handlers_itself() -> None:
    """C47."""

    class Own(Actor):
        @command("orders.ignored")
        async def place(self) -> None: ...

        @staticmethod
        def __get_enroute__() -> dict[str, Any]:
            return {"place": command("orders.place")}

    assert is_actor(Own)
    assert topics(Own) == ["orders.place"]


def test_class_that_names_no_handlers_is_no_actor() -> None:
    class Nothing:
        @staticmethod
        def __get_enroute__() -> dict[str, Any]:
            return {}

    assert not is_actor(Nothing)
