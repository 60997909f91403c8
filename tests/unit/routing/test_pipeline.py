"""What stands around a handler: order, replacement, and what is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from callboard import (
    BrokerMessageV1,
    BrokerMessageV1Payload,
    BrokerRequest,
    BrokerResponse,
    BrokerResponseException,
    command,
)
from callboard.brokers.mailbox import Kind
from callboard.errors import DeclarationError
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.pipeline import Handle, Pipeline, checked_middleware
from callboard.routing.stage import OPEN_STAGE


def request(content: Any = None, topic: str = "orders.place") -> BrokerRequest:
    return BrokerRequest(BrokerMessageV1(topic, BrokerMessageV1Payload(content)))


async def echo(asked: BrokerRequest) -> BrokerResponse:
    return BrokerResponse(await asked.content())


async def passing(asked: BrokerRequest, call_next: Handle) -> BrokerResponse:
    return await call_next(asked)


async def forgetful(asked: BrokerRequest, call_next: Handle) -> BrokerResponse:
    await call_next(asked)
    return None  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


async def careless(asked: BrokerRequest, call_next: Handle) -> BrokerResponse:
    return await call_next(asked.raw)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def short(asked: BrokerRequest, call_next: Handle) -> BrokerResponse:
    return BrokerResponse("cached")


async def twice(asked: BrokerRequest, call_next: Handle) -> BrokerResponse:
    await call_next(asked)
    return await call_next(asked)


async def run(pipeline: Pipeline, asked: BrokerRequest, handle: Handle = echo) -> Any:
    return (await pipeline.run(asked, handle, OPEN_STAGE)).content


async def test_middleware_may_answer_itself_or_ask_again() -> None:
    handled: list[BrokerRequest] = []

    async def handle(asked: BrokerRequest) -> BrokerResponse:
        handled.append(asked)
        return await echo(asked)

    asked = request(1)
    assert await run(Pipeline((short, passing)), asked, handle) == "cached"
    assert handled == []
    assert await run(Pipeline((twice,)), asked, handle) == 1
    assert handled == [asked, asked]


@pytest.mark.parametrize(
    ("middleware", "rule"), [(forgetful, "must return a BrokerResponse"), (careless, "must give on a BrokerRequest")]
)
async def test_middleware_that_forgets_is_named(middleware: Any, rule: str) -> None:
    with pytest.raises(DeclarationError, match=f"{middleware.__name__}: {rule}"):
        await run(Pipeline((middleware,)), request())


class Hooked:
    def _pre_command_handle(self, asked: BrokerRequest) -> BrokerRequest:
        return request("command")

    async def _post_query_handle(self, response: BrokerResponse) -> BrokerResponse:
        return BrokerResponse("query")

    def _pre_event_handle(self, asked: BrokerRequest) -> None: ...

    def _post_event_handle(self, response: BrokerResponse) -> None: ...


@pytest.mark.parametrize(("kind", "content"), [(Kind.COMMAND, "command"), (Kind.QUERY, "query")])
async def test_hooks_are_those_of_the_handlers_kind(kind: Kind, content: str) -> None:
    """C45."""
    assert await run(Pipeline().bind(Hooked(), kind, ()), request("sent")) == content


async def test_hook_that_forgets_is_named() -> None:
    bound = Pipeline().bind(Hooked(), Kind.EVENT, ())
    with pytest.raises(DeclarationError, match="_pre_event_handle: must give on a BrokerRequest, not None"):
        await run(bound, request())
    with pytest.raises(DeclarationError, match="_post_event_handle: must return a BrokerResponse, not None"):
        await run(Pipeline(after=bound.after), request())


class Objects:
    async def __call__(self, asked: BrokerRequest, call_next: Handle) -> BrokerResponse:
        return await call_next(asked)


async def three(more: int, asked: BrokerRequest, call_next: Handle) -> BrokerResponse:
    return await call_next(asked)


def plain(asked: BrokerRequest, call_next: Handle) -> None: ...


def test_any_async_callable_of_two_arguments_is_middleware() -> None:
    parts = (passing, Objects(), partial(three, 1))

    assert checked_middleware("Desk", list(parts)) == parts


@pytest.mark.parametrize(
    "wrong",
    [passing, "passing", (three,), (plain,), (3,)],
    ids=["one", "text", "3", "plain", "no"],
)
def test_what_is_no_middleware_is_refused_where_it_is_declared(wrong: Any) -> None:
    with pytest.raises(DeclarationError, match="BrokerDispatcher: middleware is"):
        BrokerDispatcher({}, middleware=wrong)


async def test_dispatchers_middleware_stands_outside_of_the_class_s_own() -> None:
    """C45."""
    order: list[str] = []

    def noting(name: str) -> Any:
        async def note(asked: BrokerRequest, call_next: Handle) -> BrokerResponse:
            order.append(name)
            return await call_next(asked)

        return note

    class Desk:
        middleware = (noting("class"),)

        async def place(self) -> None:
            order.append("handler")

    dispatcher = BrokerDispatcher({"orders.place": Desk().place}, middleware=[noting("dispatcher")])
    await dispatcher.get_action("orders.place")(request())

    assert order == ["dispatcher", "class", "handler"]


async def test_checks_are_asked_in_the_order_of_their_declaration_until_one_says_no() -> None:
    """C46."""
    asked: list[str] = []

    def note(name: str, answer: bool, asking: BrokerRequest) -> bool:
        asked.append(name)
        return answer

    @command("orders.place")
    async def place() -> None: ...

    for name, answer in [("first", True), ("second", False), ("third", True)]:
        place.check(max_attempts=1)(partial(note, name, answer))

    with pytest.raises(BrokerResponseException):
        await BrokerDispatcher({command("orders.place"): place}).get_action("orders.place")(request())

    assert asked == ["first", "second"]


async def test_handler_gets_the_very_request_that_a_middleware_gave_on() -> None:
    class Better(BrokerRequest):
        __slots__ = ()

    async def improving(asked: BrokerRequest, call_next: Handle) -> BrokerResponse:
        return await call_next(Better(asked.raw))

    async def place(asked: BrokerRequest) -> str:
        return type(asked).__name__

    action = BrokerDispatcher({"orders.place": place}, middleware=[improving]).get_action("orders.place")

    assert (await action(request())).content == "Better"


async def test_request_to_another_topic_cannot_fill_captures() -> None:
    async def moving(asked: BrokerRequest, call_next: Handle) -> BrokerResponse:
        return await call_next(request(topic=await asked.content()))

    async def cancel(number: str) -> str:
        return number

    action = BrokerDispatcher({command("orders.{number}"): cancel}, middleware=[moving]).get_action("orders.1")

    assert (await action(request("orders.2", "orders.1"))).content == "2"
    with pytest.raises(DeclarationError, match=r"captures tokens of 'orders.\{number\}'"):
        await action(request("elsewhere", "orders.1"))
