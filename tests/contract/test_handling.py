"""What whoever handles messages through a dispatcher may rely on, whatever carries them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID, uuid4

import pytest

from callboard import (
    REQUEST_HEADERS_CONTEXT_VAR,
    REQUEST_REPLY_TOPIC_CONTEXT_VAR,
    REQUEST_USER_CONTEXT_VAR,
    Actor,
    BrokerMessage,
    BrokerMessageV1,
    BrokerMessageV1Payload,
    BrokerMessageV1Strategy,
    BrokerRequest,
    BrokerResponse,
    BrokerResponseException,
    RemoteError,
    Supervisor,
    command,
    enroute,
    event,
    query,
)
from callboard.brokers.mailbox import group_mailboxes
from callboard.brokers.publisher import TransportBrokerPublisher
from callboard.brokers.subscription import TransportBrokerSubscriber
from callboard.instrumentation import TRACE_HEADERS
from callboard.routing.discovery import Actions
from callboard.routing.dispatcher import BrokerDispatcher
from callboard.routing.factory import EnrouteFactory
from callboard.routing.handler import BrokerHandler
from callboard.routing.pipeline import Handle, Middleware
from callboard.routing.port import BrokerPort
from callboard.system import System
from tests.contract.conftest import Connect
from tests.jetstream.eventually import eventually

NOTE: ContextVar[str] = ContextVar("note", default="nothing")


class Caller:
    """Asks by topic and hears the answers on a topic of its own, one after the other."""

    def __init__(self, connect: Connect) -> None:
        self.publisher = TransportBrokerPublisher(connect())
        self.answers = TransportBrokerSubscriber(connect(), group_mailboxes(["answers.>"], "caller"))

    async def tell(self, topic: str, content: Any = None, **options: Any) -> BrokerMessageV1:
        """Send without asking for an answer."""
        headers = options.pop("headers", None)
        message = BrokerMessageV1(topic, BrokerMessageV1Payload(content, headers), **options)
        await self.publisher.send(message)
        return message

    async def ask(self, topic: str, content: Any = None, **options: Any) -> BrokerMessage:
        """Send, and wait for the answer."""
        sent = await self.tell(topic, content, reply_topic="answers.here", **options)
        reply = await self.answers.receive()
        assert reply.identifier == sent.identifier
        return reply


@pytest.fixture
async def caller(connect: Connect) -> AsyncGenerator[Caller]:
    async with AsyncExitStack() as stack:
        caller = Caller(connect)
        await stack.enter_async_context(caller.publisher)
        await stack.enter_async_context(caller.answers)
        yield caller


def handler_of(
    connect: Connect,
    actions: Actions,
    *,
    topics: Iterable[str] = ("user.*",),
    concurrency: int = 5,
    middleware: Sequence[Middleware] = (),
) -> BrokerHandler:
    dispatcher = BrokerDispatcher(actions, TransportBrokerPublisher(connect()), middleware=middleware)
    subscriber = TransportBrokerSubscriber(connect(), group_mailboxes(topics, "user-service"))
    return BrokerHandler(dispatcher, subscriber, concurrency)


@asynccontextmanager
async def acting(connect: Connect, *actors: type) -> AsyncGenerator[System]:
    async with System(Supervisor(list(actors)), name="users", transport=connect(), grace=5.0) as system:
        yield system


class UserService:
    """The document's own."""

    seen: list[Any]

    def __init__(self) -> None:
        self.seen = []

    @enroute.broker.command("user.create")
    async def create_user(self, request: BrokerRequest) -> BrokerResponse:
        self.seen.append(await request.content())
        return BrokerResponse({"id": "123", "status": "created"})

    @enroute.broker.event("user.created")
    async def handle_user_created(self, request: BrokerRequest) -> BrokerResponse:
        self.seen.append(await request.content())
        return BrokerResponse({"processed": True})


async def test_complete_example_of_the_document_works(connect: Connect, caller: Caller) -> None:
    publisher = TransportBrokerPublisher(connect())
    subscriber = TransportBrokerSubscriber(connect(), group_mailboxes(["user.*"], "user-service"))

    factory = EnrouteFactory(UserService)
    actions = factory.get_broker_command_query_event()
    dispatcher = BrokerDispatcher(actions=actions, publisher=publisher)
    handler = BrokerHandler(dispatcher=dispatcher, subscriber=subscriber, concurrency=5)

    running = asyncio.create_task(handler.run())
    reply = await caller.ask("user.create", {"name": "Ada"})
    assert (reply.status, reply.content) == (200, {"id": "123", "status": "created"})
    reply = await caller.ask("user.created", {"id": "123"}, strategy=BrokerMessageV1Strategy.MULTICAST)
    assert reply.content == {"processed": True}
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_reply_carries_identifier_and_headers_of_the_request(connect: Connect, caller: Caller) -> None:
    """C29."""

    async def create(request: BrokerRequest) -> BrokerResponse:
        return BrokerResponse(await request.content(), status=201)

    async with handler_of(connect, {"user.create": create}):
        reply = await caller.ask("user.create", {"name": "Ada"}, headers={"tenant": "a"})

    assert (reply.topic, reply.reply_topic) == ("answers.here", None)
    assert (reply.content, reply.status, reply.headers) == ({"name": "Ada"}, 201, {"tenant": "a"})


async def test_nothing_is_published_for_a_message_without_reply_topic(connect: Connect, caller: Caller) -> None:
    """C30: the next answer is the next request's."""
    handled: list[Any] = []

    async def create(content: str) -> str:
        handled.append(content)
        return content

    async with handler_of(connect, {"user.create": create}, concurrency=1):
        await caller.tell("user.create", "quiet")
        assert (await caller.ask("user.create", "loud")).content == "loud"

    assert handled == ["quiet", "loud"]


async def test_empty_answer_is_none_with_status_200(connect: Connect, caller: Caller) -> None:
    """C31."""

    async def nothing() -> None: ...

    async def empty() -> BrokerResponse:
        return BrokerResponse()

    async with handler_of(connect, {"user.nothing": nothing, "user.empty": empty}):
        for topic in ("user.nothing", "user.empty"):
            reply = await caller.ask(topic)
            assert (reply.content, reply.status) == (None, 200)


async def test_refusals_and_failures_are_answered_and_the_loop_goes_on(connect: Connect, caller: Caller) -> None:
    """C32, C39, S12."""

    async def create(content: str) -> str:
        match content:
            case "refused":
                raise BrokerResponseException("no such user", status=404)
            case "failed":
                raise KeyError("password")
            case _:
                return content

    async with handler_of(connect, {command("user.create", retry=()): create}):
        refused = await caller.ask("user.create", "refused")
        failed = await caller.ask("user.create", "failed")
        assert (await caller.ask("user.create", "good")).content == "good"

    assert (refused.status, refused.content["error"]["message"]) == (404, "no such user")
    assert (failed.status, failed.content["error"]["type"]) == (500, "KeyError")
    assert "password" not in str(failed.content)


async def test_plain_and_async_handlers_reply_alike(connect: Connect, caller: Caller) -> None:
    """C33."""

    def plain(content: int) -> int:
        return content + 1

    async def asynchronous(content: int) -> int:
        return content + 1

    async with handler_of(connect, {"user.plain": plain, "user.async": asynchronous}):
        assert [(await caller.ask(topic, 1)).content for topic in ("user.plain", "user.async")] == [2, 2]


@pytest.mark.parametrize("user", [UUID(int=7), None])
async def test_context_variables_hold_what_came_with_the_message(
    connect: Connect, caller: Caller, user: UUID | None
) -> None:
    """C34."""
    seen: list[Any] = []

    async def create(request: BrokerRequest) -> None:
        seen.extend([request.user, REQUEST_USER_CONTEXT_VAR.get(), REQUEST_REPLY_TOPIC_CONTEXT_VAR.get()])

    async with handler_of(connect, {"user.create": create}):
        await caller.ask("user.create", headers={} if user is None else {"user": str(user)})

    assert seen == [user, user, "answers.here"]


async def test_header_that_a_handler_adds_goes_on_the_reply_and_to_nobody_else(
    connect: Connect, caller: Caller
) -> None:
    """C35, S11."""
    notes: list[str] = []

    async def create() -> None:
        notes.append(NOTE.get())
        NOTE.set("left behind")
        REQUEST_HEADERS_CONTEXT_VAR.set({**(REQUEST_HEADERS_CONTEXT_VAR.get() or {}), "added": "b"})

    async with handler_of(connect, {"user.create": create}, concurrency=1):
        first = await caller.ask("user.create", headers={"tenant": "a"})
        second = await caller.ask("user.create")

    assert (first.headers, second.headers) == ({"tenant": "a", "added": "b"}, {"added": "b"})
    assert notes == ["nothing", "nothing"]


async def test_at_most_concurrency_handlers_run_and_all_finish(connect: Connect, caller: Caller) -> None:
    """C38."""
    inside, most, done = 0, 0, 0
    full = asyncio.Event()

    async def create() -> None:
        nonlocal inside, most, done
        inside += 1
        most = max(most, inside)
        if inside == 2:
            full.set()
        await full.wait()
        inside -= 1
        done += 1

    async with handler_of(connect, {"user.create": create}, concurrency=2):
        for _ in range(6):
            await caller.tell("user.create")
        await eventually(lambda: done == 6)

    assert most == 2


async def test_destroy_waits_for_the_running_handler_and_its_reply(connect: Connect, caller: Caller) -> None:
    """C40."""
    entered, may_end = asyncio.Event(), asyncio.Event()

    async def create() -> str:
        entered.set()
        await may_end.wait()
        return "done"

    handler = handler_of(connect, {"user.create": create})
    await handler.setup()
    asking = asyncio.create_task(caller.ask("user.create"))
    await entered.wait()
    asyncio.get_running_loop().call_soon(may_end.set)
    await handler.destroy()

    assert (await asking).content == "done"


async def test_port_runs_a_handler_until_it_is_stopped(connect: Connect, caller: Caller) -> None:
    """C41."""

    async def create(content: int) -> int:
        return content

    port = BrokerPort(handler_of(connect, {"user.create": create}))
    await port.start()
    assert (await caller.ask("user.create", 7)).content == 7
    await port.stop()


async def test_hung_handler_does_not_hold_up_a_stop_and_its_message_comes_again(
    connect: Connect, caller: Caller
) -> None:
    """S07."""
    entered = asyncio.Event()

    async def hang() -> None:
        entered.set()
        await asyncio.Event().wait()

    async def create() -> str:
        return "at last"

    handler = handler_of(connect, {"user.create": hang})
    await handler.start()
    asking = asyncio.create_task(caller.ask("user.create"))
    await entered.wait()
    begun = asyncio.get_running_loop().time()
    await handler.stop(0.1)
    assert asyncio.get_running_loop().time() - begun < 3.0

    async with handler_of(connect, {"user.create": create}):
        assert (await asking).content == "at last"


async def test_handler_that_cancels_itself_costs_no_slot(connect: Connect, caller: Caller) -> None:
    """S06: ten times, then both slots are still there."""
    both = asyncio.Barrier(2)
    met: list[str] = []

    async def create(content: str) -> None:
        if content == "cancel":
            raise asyncio.CancelledError
        await both.wait()
        met.append(content)

    async with handler_of(connect, {command("user.create", retry=()): create}, concurrency=2):
        for _ in range(10):
            assert (await caller.ask("user.create", "cancel")).status == 500
        for _ in range(2):
            await caller.tell("user.create", "meet")
        await eventually(lambda: len(met) == 2)


async def test_topic_without_a_handler_is_answered_404(connect: Connect, caller: Caller) -> None:
    """S10: and so is one whose handler is None, though a wider one would take it."""

    async def anything() -> str:
        return "anything"

    async with handler_of(connect, {"user.*": anything, "user.secret": None}, topics=["user.>"]):
        replies = [await caller.ask(topic) for topic in ("user.secret", "user.a.b", "user.name")]

    assert [reply.status for reply in replies] == [404, 404, 200]


async def test_what_cannot_be_handled_is_answered_promptly(connect: Connect, caller: Caller) -> None:
    """S10."""

    async def odd(request: BrokerRequest) -> object:
        return object() if request.user is None else None

    async def strict(content: int) -> int:
        return content

    async with handler_of(connect, {"user.odd": odd, "user.strict": strict}):
        unserialisable = await caller.ask("user.odd", headers={"user": "nobody"})
        misfit = await caller.ask("user.strict", "text")

    assert (unserialisable.status, unserialisable.content["error"]["type"]) == (500, "ContentEncodeError")
    assert misfit.status == 400


async def test_others_progress_while_a_plain_handler_or_checker_blocks(connect: Connect, caller: Caller) -> None:
    """S15."""
    release = threading.Event()
    blocked = 0

    def block() -> None:
        nonlocal blocked
        blocked += 1
        release.wait(30)

    @command("user.checked")
    async def checked() -> None: ...

    @checked.check()
    def wait(request: BrokerRequest) -> bool:
        block()
        return True

    async def go() -> str:
        return "gone"

    async with handler_of(connect, {"user.block": block, "user.checked": checked, "user.go": go}, concurrency=3):
        await caller.tell("user.block")
        await caller.tell("user.checked")
        await eventually(lambda: blocked == 2)
        try:
            assert (await caller.ask("user.go")).content == "gone"
        finally:
            release.set()


class Steps:
    """Hooks, a check and a handler that write down when they came."""

    order: list[str]

    def __init__(self) -> None:
        self.order = ORDER

    def _pre_command_handle(self, request: BrokerRequest) -> BrokerRequest:
        self.order.append("pre")
        return request

    @command("user.create")
    async def create(self, request: BrokerRequest, content: str) -> str:
        self.order.append(f"handler {content}")
        return content

    @create.check(max_attempts=3, delay=0.0)
    async def ready(self, request: BrokerRequest) -> bool:
        self.order.append("check")
        return self.order.count("check") == 2

    async def _post_command_handle(self, response: BrokerResponse) -> BrokerResponse:
        self.order.append("post")
        return BrokerResponse(f"{response.content}!")


ORDER: list[str] = []


def middleware(name: str) -> Middleware:
    async def around(request: BrokerRequest, call_next: Handle) -> BrokerResponse:
        ORDER.append(name)
        return await call_next(request)

    return around


async def replacing(request: BrokerRequest, call_next: Handle) -> BrokerResponse:
    raw = request.raw
    return await call_next(BrokerRequest(BrokerMessageV1(raw.topic, BrokerMessageV1Payload("replaced"))))


EXPECTED = ["m1", "m2", "pre", "check", "check", "handler replaced", "post"]


async def test_middleware_hooks_and_checks_surround_the_handler_in_this_order(connect: Connect, caller: Caller) -> None:
    """C45, C46: and what a middleware gives on is what the handler's parameters are filled from."""
    ORDER.clear()
    actions = EnrouteFactory(Steps).get_broker_command_query_event()
    around = [middleware("m1"), middleware("m2"), replacing]
    async with handler_of(connect, actions, middleware=around):
        assert (await caller.ask("user.create", "sent")).content == "replaced!"

    assert ORDER == EXPECTED


async def test_actor_has_its_middleware_hooks_and_checks(connect: Connect) -> None:
    """C45, C46: the same under `callboard run`."""
    ORDER.clear()

    class StepsActor(Steps, Actor):
        middleware = (middleware("m1"), middleware("m2"), replacing)

    async with acting(connect, StepsActor) as system:
        assert await system.board.request("user.create", "sent") == "replaced!"

    assert ORDER == EXPECTED


async def test_check_that_never_holds_is_answered_400_and_the_handler_does_not_run(connect: Connect) -> None:
    """C46."""
    ran: list[str] = []

    class Closed(Actor):
        @command("user.create")
        async def create(self) -> None:
            ran.append("handler")

        @create.check(max_attempts=3, delay=0.0)
        def opened(self, request: BrokerRequest) -> bool:
            ran.append("check")
            return False

    async with acting(connect, Closed) as system:
        with pytest.raises(RemoteError, match="does not meet 'opened'") as raised:
            await system.board.request("user.create")

    assert (raised.value.status, ran) == (400, ["check"] * 3)


async def test_middleware_that_raises_is_judged_as_the_handler_would_be(connect: Connect, caller: Caller) -> None:
    """C45."""

    async def refusing(request: BrokerRequest, call_next: Handle) -> BrokerResponse:
        if await request.content() == "refuse":
            raise BrokerResponseException("not you", status=403)
        try:
            return await call_next(request)
        except KeyError as error:
            raise BrokerResponseException("no such user", status=404) from error

    async def create(content: str) -> str:
        raise KeyError(content)

    async with handler_of(connect, {"user.create": create}, middleware=[refusing]):
        statuses = [(await caller.ask("user.create", content)).status for content in ("refuse", "x")]

    assert statuses == [403, 404]


async def test_two_event_handlers_on_one_topic_both_run_whatever_the_other_does(
    connect: Connect, caller: Caller
) -> None:
    """C44."""
    heard: list[str] = []

    class Mailer:
        @event("user.created", retry=())
        async def mail(self) -> None:
            heard.append("mail")
            raise ValueError("no mail server")

    @event("user.created", retry=())
    def count(content: int) -> None:
        heard.append(f"count {content}")

    async with handler_of(connect, EnrouteFactory(Mailer, count).get_broker_event()):
        reply = await caller.ask("user.created", 1)

    assert heard == ["mail", "count 1"]
    assert (reply.status, reply.content["error"]["type"]) == (500, "ValueError")


async def test_class_says_itself_what_its_handlers_are(connect: Connect) -> None:
    """C47: also under `callboard run`."""

    class Users:
        @command("user.ignored")
        async def create(self, content: str) -> str:
            return content

        @staticmethod
        def __get_enroute__() -> dict[str, Any]:
            return {"create": [query("user.find"), query("user.get")]}

    async with acting(connect, Users) as system:
        assert [await system.board.request(topic, "x") for topic in ("user.find", "user.get")] == ["x", "x"]


async def test_dispatch_handles_a_message_without_a_subscriber(connect: Connect, caller: Caller) -> None:
    """C29, S06."""

    async def create(content: str) -> str:
        if content == "cancel":
            raise asyncio.CancelledError
        return content

    async with TransportBrokerPublisher(connect()) as publisher:
        dispatcher = BrokerDispatcher({"user.create": create}, publisher)
        for content in ("cancel", "good"):
            message = BrokerMessageV1(
                "user.create", BrokerMessageV1Payload(content, {"tenant": "a"}), reply_topic="answers.here"
            )
            await dispatcher.dispatch(message)
        replies = [await caller.answers.receive() for _ in range(2)]

    assert [(reply.status, reply.headers) for reply in replies] == [(500, {"tenant": "a"}), (200, {"tenant": "a"})]


async def test_trace_goes_on_through_dispatch(connect: Connect) -> None:
    """S18: into what the handler publishes, and into the reply."""
    trace = {"traceparent": f"00-{uuid4().hex}-00f067aa0ba902b7-01"}
    arrived: list[dict[str, str]] = []
    listening = TransportBrokerSubscriber(connect(), group_mailboxes(["answers.>"], "caller"))
    async with listening, TransportBrokerPublisher(connect()) as publisher:

        async def create() -> None:
            await publisher.send(BrokerMessageV1("answers.output", BrokerMessageV1Payload()))

        dispatcher = BrokerDispatcher({"user.create": create}, publisher)
        await dispatcher.dispatch(
            BrokerMessageV1("user.create", BrokerMessageV1Payload(headers=trace), reply_topic="answers.here")
        )
        for _ in range(2):
            lane, delivery = await listening.intake.take()
            arrived.append({name: value for name, value in delivery.headers.items() if name in TRACE_HEADERS})
            await delivery.ack()
            listening.intake.release(lane, 1.0, 0)

    assert arrived == [trace, trace]


async def test_multicast_message_to_a_command_is_told_once_and_handled(
    connect: Connect, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    async def create(content: int) -> int:
        return content

    async with handler_of(connect, {command("user.create"): create, "user.plain": create}):
        for topic in ("user.create", "user.create", "user.plain"):
            reply = await caller.ask(topic, 1, strategy=BrokerMessageV1Strategy.MULTICAST)
            assert reply.content == 1

    told = [record.getMessage() for record in caplog.records if "multicast" in record.getMessage()]
    assert len(told) == 1
    assert "command 'user.create'" in told[0]
