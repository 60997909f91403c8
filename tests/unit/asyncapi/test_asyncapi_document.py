"""The document of actors: channels, operations, messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

import pytest
from attrs import frozen

from callboard import Actor, BrokerRequest, BrokerResponse, Supervisor, command, event, query
from callboard.asyncapi import asyncapi_document
from callboard.config import Config
from callboard.errors import BrokerResponseException, DeclarationError
from callboard.routing.failure import error_response
from callboard.system.assembly import assemble
from callboard.system.system import Service, System
from tests.asyncapi import check_document, described, fits, resolve


@frozen
class Order:
    """What somebody wants."""

    item: str


class Orders(Actor):
    """Takes orders."""

    concurrency = 8
    publishes: ClassVar[Mapping[str, Any]] = {"orders.placed": Order, "orders.{id}.log": list[str]}

    @command("orders.place", timeout=10.0, retry=(0, 1.5), failures={ValueError: "reject"}, start="new")
    async def place(self, order: Order) -> Order:
        """Places an order,
        at once.

        It is not paid yet.
        """
        return order

    @query("orders.{id}.state")
    async def state(self, id: str) -> dict[str, int]:  # noqa: A002
        return {id: 1}


class Kitchen(Actor):
    @event("orders.placed", order="strict")
    async def cook(self, order: Order) -> None: ...

    @event("orders.*.log.>")
    async def log(self, request: BrokerRequest) -> None: ...


class Plain:
    """Nothing that content can carry."""


class Odd(Actor):
    """Its first token is `odd`; it has results of all kinds."""

    @event("odd.asked")
    async def asked(self) -> str:
        return ""

    @query("odd.unknown")
    async def unknown(self, request: BrokerRequest): ...  # type: ignore[no-untyped-def]

    @query("odd.nothing")
    async def nothing(self) -> None: ...

    @query("odd.response")
    async def response(self) -> BrokerResponse | None: ...

    @query("odd.never")
    async def never(self) -> NoReturn:
        raise BrokerResponseException("no")

    @event("odd.{one}")
    @event("odd.*.{one}.*")
    async def many(self, one: str) -> None: ...


def payloads(document: Mapping[str, Any], operation: str) -> list[Any]:
    """The schemas of what a handler answers."""
    messages = document["operations"][operation]["reply"]["messages"]
    return [resolve(document, message["$ref"])["payload"] for message in messages]


@pytest.mark.parametrize("target", ["actors.flights", "actors.users"])
def test_the_reference_application_has_a_document_that_fits_the_specification(target: str) -> None:
    system = assemble([target], Config())
    document = asyncapi_document(system.declarations)

    check_document(document)
    receive = [it for it in document["operations"].values() if it["action"] == "receive"]
    assert sorted(it["x-callboard"]["durable"] for it in receive) == sorted(
        m.durable for m in system.topology.mailboxes
    )
    sent = [document["channels"][it["channel"]["$ref"].rpartition("/")[2]] for it in document["operations"].values()]
    assert {channel["address"] for channel in sent} >= set(system.topology.publishes)


def test_every_handler_receives_and_says_how() -> None:
    operation = described(Orders, Kitchen)["operations"]["Orders.place"]

    assert operation["action"] == "receive"
    assert operation["channel"] == {"$ref": "#/channels/orders.place"}
    assert operation["summary"] == "Places an order, at once."
    assert operation["description"] == "It is not paid yet."
    durable = operation["x-callboard"].pop("durable")
    assert durable.startswith("command-orders_place-")
    assert operation["bindings"] == {"nats": {"queue": durable, "bindingVersion": "0.1.0"}}
    assert operation["x-callboard"] == {
        "kind": "command",
        "service": "shop",
        "concurrency": 8,
        "timeout": 10.0,
        "retry": [0.0, 1.5],
        "failures": {"ValueError": "reject"},
        "start": "new",
    }


def test_what_is_published_and_received_under_one_topic_is_one_message_on_one_channel() -> None:
    document = described(Orders, Kitchen)
    sent, received = (document["operations"][name] for name in ("Orders.publish.orders.placed", "Kitchen.cook"))

    assert (sent["action"], received["action"]) == ("send", "receive")
    assert sent["channel"] == received["channel"] == {"$ref": "#/channels/orders.placed"}
    assert sent["messages"] == received["messages"] == [{"$ref": "#/channels/orders.placed/messages/Order"}]
    assert received["x-callboard"]["order"] == "strict"


def test_a_reply_goes_where_the_request_says_and_is_a_result_or_an_error() -> None:
    document = described(Orders)
    reply = document["operations"]["Orders.place"]["reply"]
    result, error = payloads(document, "Orders.place")

    assert reply["address"] == {"location": "$message.header#/Callboard-Reply-Topic"}
    assert resolve(document, reply["channel"]["$ref"])["address"] is None
    assert result == {"$ref": "#/components/schemas/Order"}
    assert fits(document, error, error_response(BrokerResponseException("no", status=409)).content)
    assert not fits(document, error, {"error": "no"})


def test_a_class_may_be_named_like_one_of_callboard() -> None:
    @frozen
    class CallboardError:
        why: str

    async def explain(error: CallboardError) -> CallboardError:
        return error

    explain.__annotations__ = {"error": CallboardError, "return": CallboardError}
    document = described(command("named.alike")(explain))
    result, error = payloads(document, "explain")

    assert fits(document, result, {"why": "so"})
    assert fits(document, error, error_response(ValueError()).content)
    assert not fits(document, error, {"why": "so"})


def test_a_document_of_nothing_fits_too() -> None:
    check_document(asyncapi_document({}))


def test_results_are_as_their_annotations_say() -> None:
    document = described(Odd)
    error = {"$ref": "#/components/schemas/CallboardError"}

    assert payloads(document, "Odd.asked") == [{"type": "string"}, error]
    assert payloads(document, "Odd.unknown") == [{}, error]
    assert payloads(document, "Odd.nothing") == [{"type": "null"}, error]
    assert payloads(document, "Odd.response") == [{}, error]
    assert payloads(document, "Odd.never") == [error]
    assert "reply" not in document["operations"]["Odd.many"]


def test_captures_and_wildcards_are_parameters() -> None:
    channels = described(Orders, Kitchen, Odd)["channels"]

    assert channels["orders.id.state"]["address"] == "orders.{id}.state"
    assert list(channels["orders.id.state"]["parameters"]) == ["id"]
    assert channels["orders.token2.log.rest"]["address"] == "orders.{token2}.log.{rest}"
    assert "One or more tokens" in channels["orders.token2.log.rest"]["parameters"]["rest"]["description"]
    assert channels["orders.token2.log.rest"]["x-callboard"] == {"filter": "orders.*.log.>"}
    assert channels["odd.token2.one.token4"]["address"] == "odd.{token2}.{one}.{token4}"


def test_a_parameter_of_a_wildcard_has_a_name_that_no_capture_has() -> None:
    class Wild(Actor):
        @event("wild.{token3}.*.{rest}.>")
        async def hear(self, token3: str, rest: str) -> None: ...

    [channel] = described(Wild)["channels"].values()

    assert channel["address"] == "wild.{token3}.{token3_}.{rest}.{rest_}"


def test_topics_that_differ_in_their_signs_alone_are_channels_of_their_own() -> None:
    class Signs(Actor):
        @event("signs.a/b")
        async def slash(self) -> None: ...

        @event("signs.a~b")
        async def tilde(self) -> None: ...

        @event("signs.{id}")
        async def captured(self, id: str) -> None: ...  # noqa: A002

        @event("signs.id")
        async def literal(self) -> None: ...

    document = described(Signs)

    assert {channel["address"] for channel in document["channels"].values()} == {
        "signs.a/b",
        "signs.a~b",
        "signs.{id}",
        "signs.id",
    }
    assert document["operations"]["Signs.slash"]["channel"] == {"$ref": "#/channels/signs.a_b"}
    assert document["operations"]["Signs.tilde"]["channel"] == {"$ref": "#/channels/signs.a_b_2"}


def test_a_handler_with_several_topics_is_an_operation_for_each() -> None:
    operations = described(Odd)["operations"]

    assert {name for name in operations if name.startswith("Odd.many")} == {
        "Odd.many",
        "Odd.many.odd.token2.one.token4",
    }


def test_a_function_is_an_actor_too() -> None:
    @query("sums.add")
    async def add(numbers: list[int]) -> int:
        """Adds."""
        return sum(numbers)

    document = described(add)

    assert document["operations"]["add"]["summary"] == "Adds."
    message = resolve(document, document["operations"]["add"]["messages"][0]["$ref"])
    assert message["payload"] == {"type": "array", "items": {"type": "integer"}}


def test_several_services_are_in_one_document() -> None:
    system = System([Service("shop", Supervisor([Orders])), Service("kitchen", Supervisor([Kitchen]))])
    document = asyncapi_document(system.declarations)

    check_document(document)
    assert document["info"]["title"] == "shop, kitchen"
    assert document["operations"]["Kitchen.cook"]["x-callboard"]["service"] == "kitchen"


def test_what_the_configuration_says_about_actors_counts() -> None:
    config = Config(actors={"Orders": {"concurrency": 3}})
    document = asyncapi_document(System(Supervisor([Orders]), config=config).declarations)

    assert document["operations"]["Orders.state"]["x-callboard"]["concurrency"] == 3


def test_a_result_that_cannot_be_carried_names_handler_type_and_way_out() -> None:
    class Bad(Actor):
        @query("bad.get")
        async def get(self) -> list[Plain]:
            return []

    with pytest.raises(DeclarationError) as caught:
        described(Bad)
    text = str(caught.value)
    assert "Bad.get (query 'bad.get'): the result: " in text
    assert "Plain is no type that content can carry; use an attrs class" in text


def test_published_content_that_cannot_be_carried_names_actor_topic_and_type() -> None:
    class Bad(Actor):
        publishes: ClassVar[Mapping[str, Any]] = {"bad.made": Plain}

        @event("bad.seen")
        async def see(self) -> None: ...

    with pytest.raises(DeclarationError, match=r"Bad: publishes\['bad.made'\]: .*Plain is no type .*; use"):
        described(Bad)
