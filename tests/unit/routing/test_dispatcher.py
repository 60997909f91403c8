"""Dispatchers: which handler a topic has, and one message without a mailbox."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from uuid import UUID, uuid4

import pytest

from callboard import (
    REQUEST_HEADERS_CONTEXT_VAR,
    REQUEST_REPLY_TOPIC_CONTEXT_VAR,
    REQUEST_USER_CONTEXT_VAR,
    ActorCrash,
    BrokerMessage,
    BrokerMessageV1,
    BrokerMessageV1Payload,
    BrokerPublisher,
    BrokerRequest,
    BrokerResponse,
    BrokerResponseException,
    command,
    event,
    query,
)
from callboard.brokers import wire
from callboard.brokers.memory import InMemoryBrokerPublisher
from callboard.errors import (
    ActionNotFoundError,
    ConnectionLostError,
    DeclarationError,
    NotProvidedError,
    PublishRefusedError,
    RedefinedActionError,
)
from callboard.instrumentation import Endpoint, Incoming, Instrumentation, PassedOn, Span
from callboard.routing.action import Action
from callboard.routing.dispatcher import BrokerDispatcher

NOTE: ContextVar[str] = ContextVar("note", default="nothing")
VARIABLES: tuple[ContextVar[Any], ...] = (
    REQUEST_HEADERS_CONTEXT_VAR,
    REQUEST_REPLY_TOPIC_CONTEXT_VAR,
    REQUEST_USER_CONTEXT_VAR,
    NOTE,
)


class Kept(BrokerPublisher):
    """Keeps what is sent, after it went through the wire's encoding."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[BrokerMessage] = []

    async def _send(self, message: BrokerMessage) -> None:
        frame = wire.encode(message)
        self.messages.append(wire.decode(frame.topic, frame.headers, frame.body, message.identifier))


def message(content: Any = None, topic: str = "orders.place", **options: Any) -> BrokerMessageV1:
    payload = BrokerMessageV1Payload(content, options.pop("headers", None))
    options.setdefault("reply_topic", "orders.answers")
    return BrokerMessageV1(topic, payload, **options)


async def dispatched(function: Callable[..., Any], sent: BrokerMessage) -> BrokerMessage:
    """The reply to a message."""
    publisher = Kept()
    await BrokerDispatcher({sent.topic: function}, publisher).dispatch(sent)
    [reply] = publisher.messages
    return reply


async def echo(content: Any) -> Any:
    return content


def plain(request: BrokerRequest) -> Any:
    return request.raw.content


def numbered(number: str) -> str:
    return number


# Which handler


def test_actions_are_kept_by_topic() -> None:
    publisher = InMemoryBrokerPublisher()
    dispatcher = BrokerDispatcher({"orders.place": echo, "orders.*": None}, publisher)

    assert dispatcher.publisher is publisher
    assert set(dispatcher.actions) == {"orders.place", "orders.*"}
    assert (dispatcher.actions["orders.place"], dispatcher.actions["orders.*"]) == (
        dispatcher.get_action("orders.place"),
        None,
    )


def test_decorator_is_as_good_as_a_topic() -> None:
    dispatcher = BrokerDispatcher({command("orders.place", timeout=3): echo})

    assert dispatcher.get_action("orders.place").options.timeout == 3.0
    assert list(dispatcher.actions) == ["orders.place"]


def test_function_keeps_what_its_own_decorator_says_about_the_topic() -> None:
    @command("orders.place", timeout=3)
    async def place() -> None: ...

    routes = BrokerDispatcher({"orders.place": place, "orders.add": place})

    assert [routes.get_action(topic).options.timeout for topic in ("orders.place", "orders.add")] == [3.0, None]


async def test_action_is_called_with_a_request_or_a_message() -> None:
    action = BrokerDispatcher({"orders.place": echo}).get_action("orders.place")

    assert await action(BrokerRequest(message(7))) == BrokerResponse(7)
    assert await action(message(7)) == BrokerResponse(7)


@pytest.mark.parametrize("topic", ["orders.plce", "orders.secret", "users.create"])
def test_topic_without_a_handler_is_named(topic: str) -> None:
    """C28: also one whose handler is None, whatever wider topic there is."""
    actions: dict[str, Callable[..., Any] | None] = {"orders.place": echo, "orders.secret": None}
    if topic == "orders.secret":
        actions["orders.*"] = echo

    with pytest.raises(ActionNotFoundError, match=f"'{topic}'"):
        BrokerDispatcher(actions).get_action(topic)


def test_most_specific_topic_wins() -> None:
    dispatcher = BrokerDispatcher({"orders.>": echo, "orders.{number}": numbered, "orders.place": echo})

    wanted = {"orders.place": "orders.place", "orders.7": "orders.{number}", "orders.7.cancel": "orders.>"}
    assert {topic: dispatcher.get_action(topic).template.text for topic in wanted} == wanted


@pytest.mark.parametrize(
    "actions",
    [
        {command("orders.place"): echo, event("orders.place"): echo},
        {"orders.*": echo, query("orders.{number}"): numbered},
    ],
)
def test_topic_that_stands_twice_is_refused(actions: Any) -> None:
    with pytest.raises(RedefinedActionError, match="stands here already"):
        BrokerDispatcher(actions)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(DeclarationError, match="'orders.place': its handler is no function: 3"):
        BrokerDispatcher({"orders.place": 3})


async def test_action_under_another_topic_keeps_what_it_is() -> None:
    @command("orders.{number}", timeout=3)
    async def cancel(number: str) -> str:
        return number

    action = BrokerDispatcher({command("orders.{number}", timeout=3): cancel}).get_action("orders.1")
    other = BrokerDispatcher({"orders.eu.{number}": action}).get_action("orders.eu.2")

    assert (other.options.timeout, (await other(message(topic="orders.eu.2"))).content) == (3.0, "2")
    with pytest.raises(DeclarationError, match="wants 'number', which 'orders.place' does not capture"):
        BrokerDispatcher({"orders.place": action})


async def test_method_of_an_instance_brings_its_class_along() -> None:
    class Desk:
        retry = (1.0,)

        def __init__(self) -> None:
            self.opened = False

        async def place(self, content: int) -> int:
            return content

        async def _pre_command_handle(self, request: BrokerRequest) -> BrokerRequest:
            self.opened = True
            return request

    desk = Desk()
    action = BrokerDispatcher({command("orders.place"): desk.place}).get_action("orders.place")

    assert action.policy.delays == (1.0,)
    assert ((await action(message(7))).content, desk.opened) == (7, True)


class Callback:
    async def __call__(self, request: BrokerRequest) -> Any:
        return await request.content()


class Later:
    def place(self, content: Any) -> Any:
        return echo(content)


@pytest.mark.parametrize("function", [echo, Callback(), Later().place, plain])
async def test_any_callable_is_a_handler(function: Callable[..., Any]) -> None:
    assert (await dispatched(function, message(7))).content == 7


# One message


async def test_reply_has_the_requests_identifier_and_headers_and_no_reply_topic() -> None:
    """C29."""
    sent = message({"a": 1}, headers={"tenant": "a", "content-type": "application/json"})
    reply = await dispatched(echo, sent)

    assert (reply.topic, reply.identifier, reply.reply_topic) == ("orders.answers", sent.identifier, None)
    assert (reply.content, reply.status, reply.headers) == ({"a": 1}, 200, {"tenant": "a"})


async def test_nothing_is_published_without_a_reply_topic() -> None:
    """C30."""
    publisher = InMemoryBrokerPublisher()
    await BrokerDispatcher({"orders.place": echo}, publisher).dispatch(message(reply_topic=None))

    assert publisher.messages == []


async def test_reply_without_a_publisher_is_refused_before_the_handler_runs() -> None:
    ran: list[str] = []

    async def place() -> None:
        ran.append("place")

    with pytest.raises(NotProvidedError, match="BrokerDispatcher was built without a publisher"):
        await BrokerDispatcher({"orders.place": place}).dispatch(message())

    assert ran == []


@pytest.mark.parametrize("answer", [None, BrokerResponse()])
async def test_answer_without_content_replies_none_with_status_200(answer: Any) -> None:
    """C31."""
    reply = await dispatched(lambda: answer, message())

    assert (reply.content, reply.status) == (None, 200)


class Unusual(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (BrokerResponseException("x", status=418), 418, "x"),
        (KeyError("password"), 500, "the handler failed"),
        (asyncio.CancelledError(), 500, "the handler failed"),
        (ActorCrash("on fire"), 500, "the handler failed"),
        (ConnectionLostError("nats://a", "gone"), 500, "the handler failed"),
        (Unusual(), 500, "the handler failed"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_whatever_a_handler_raises_is_answered(error: BaseException, status: int, text: str) -> None:
    """C32, S06."""

    async def fail() -> None:
        raise error

    reply = await dispatched(fail, message(headers={"tenant": "a"}))

    assert (reply.status, reply.headers) == (status, {"tenant": "a"})
    assert text in reply.content["error"]["message"]


async def test_failure_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise KeyError("password")

    await dispatched(fail, message())

    [record] = caplog.records
    assert "not repeated" in record.getMessage()
    assert record.exc_info is not None


async def test_topic_without_a_handler_is_answered_404() -> None:
    """S10."""
    publisher = Kept()
    await BrokerDispatcher({}, publisher).dispatch(message())

    assert [reply.status for reply in publisher.messages] == [404]


async def test_result_that_cannot_be_sent_is_answered_500() -> None:
    """S10."""
    reply = await dispatched(lambda: object(), message())  # noqa: PLW0108

    assert (reply.status, reply.content["error"]["type"]) == (500, "ContentEncodeError")


async def test_content_that_does_not_fit_is_answered_400() -> None:
    async def strict(content: int) -> int:
        return content

    assert (await dispatched(strict, message("text"))).status == 400


async def test_what_the_publisher_raises_is_raised() -> None:
    class Refusing(Kept):
        async def _send(self, message: BrokerMessage) -> None:
            raise PublishRefusedError(message.topic, "stream is full")

    with pytest.raises(PublishRefusedError):
        await BrokerDispatcher({"orders.place": echo}, Refusing()).dispatch(message())


async def test_plain_and_async_handlers_give_equal_replies() -> None:
    """C33."""
    sent = message(7)

    assert await dispatched(plain, sent) == await dispatched(echo, sent)


@pytest.mark.parametrize("user", [uuid4(), None])
async def test_context_variables_are_set_and_as_before_afterwards(user: UUID | None) -> None:
    """C34, C35, S11."""
    seen: list[Any] = []

    async def place(request: BrokerRequest) -> None:
        seen.append([variable.get() for variable in VARIABLES])
        seen.append(request.user)
        NOTE.set("left behind")
        REQUEST_HEADERS_CONTEXT_VAR.set({"added": "b"})

    headers = {} if user is None else {"user": str(user)}
    before = [variable.get() for variable in VARIABLES]
    replies = [await dispatched(place, message(headers=headers)) for _ in range(2)]

    assert seen == [[headers, "orders.answers", user, "nothing"], user] * 2
    assert [variable.get() for variable in VARIABLES] == before
    assert [reply.headers for reply in replies] == [{"added": "b"}] * 2


async def test_others_progress_while_a_plain_handler_blocks() -> None:
    """S15."""
    release = threading.Event()
    blocked = asyncio.create_task(dispatched(lambda: release.wait(30), message()))
    try:
        assert (await dispatched(echo, message(7))).content == 7
        assert not blocked.done()
    finally:
        release.set()
    assert (await blocked).content is True


async def test_cancelling_dispatch_cancels_the_handler() -> None:
    entered = asyncio.Event()
    ended: list[str] = []

    async def wait() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    dispatching = asyncio.create_task(dispatched(wait, message()))
    await entered.wait()
    dispatching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dispatching

    assert ended == ["cancelled"]


class Recording(Instrumentation):
    """Passes a trace on, and keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.processed: list[tuple[str, str]] = []
        self.failed: list[str] = []

    def process(self, endpoint: Endpoint, delivery: Incoming) -> Span:
        self.processed.append((endpoint.topic, delivery.topic))
        return _Recorded(dict(delivery.headers), self.failed)


class _Recorded(PassedOn):
    def __init__(self, carrier: dict[str, str], failed: list[str]) -> None:
        super().__init__({"traceparent": carrier["traceparent"]})
        self.failed = failed

    def fail(self, error_type: str, description: str = "") -> None:
        self.failed.append(error_type)


@pytest.mark.parametrize("traced", [True, False])
async def test_message_with_a_trace_of_its_own_gets_a_span(*, traced: bool) -> None:
    """S18."""
    recording = Recording()

    async def fail() -> None:
        raise KeyError

    headers = {"traceparent": f"00-{uuid4().hex}-00f067aa0ba902b7-01"} if traced else {}
    dispatcher = BrokerDispatcher({"orders.*": fail}, Kept(), instrumentation=recording)
    await dispatcher.dispatch(message(headers=headers))

    assert recording.processed == ([("orders.*", "orders.place")] if traced else [])
    assert recording.failed == (["KeyError"] if traced else [])


# A callback


@pytest.mark.parametrize("function", [echo, plain])
async def test_callback_gives_the_payload_of_the_reply(function: Callable[..., Any]) -> None:
    """C29, C33."""
    callback = BrokerDispatcher.get_callback(function)

    payload = await callback(message(7, headers={"tenant": "a"}, reply_topic=None))

    assert payload == BrokerMessageV1Payload(7, {"tenant": "a"})


async def test_callback_turns_failures_into_error_replies() -> None:
    """C32."""

    async def place(content: str) -> None:
        raise BrokerResponseException("x") if content == "refuse" else KeyError("y")

    callback = BrokerDispatcher.get_callback(place)

    assert [(await callback(message(content))).status for content in ("refuse", "fail")] == [400, 500]


async def test_callback_leaves_context_variables_as_they_were() -> None:
    """C35, S11."""
    before = [variable.get() for variable in VARIABLES]
    payload = await BrokerDispatcher.get_callback(lambda: REQUEST_HEADERS_CONTEXT_VAR.set({"added": "b"}) and None)(
        message()
    )

    assert payload.headers == {"added": "b"}
    assert [variable.get() for variable in VARIABLES] == before


async def test_callback_of_a_decorated_function_fills_its_captures() -> None:
    @query("orders.{number}")
    def find(number: str) -> str:
        return number

    callback = BrokerDispatcher.get_callback(find)
    action = BrokerDispatcher({query("orders.{number}"): find}).get_action("orders.7")

    assert isinstance(action, Action)
    assert (await callback(message(topic="orders.7"))).content == "7"
    assert (await BrokerDispatcher.get_callback(action)(message(topic="orders.7"))).content == "7"
