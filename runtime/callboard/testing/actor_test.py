"""Actors under test: supervised as in production, in the memory of the test, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from time import monotonic
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, overload
from uuid import UUID

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from callboard.brokers.letter import StoredLetter
from callboard.brokers.transport import Receipt
from callboard.client.board import DEFAULT_TIMEOUT, Board
from callboard.config import Config
from callboard.embedded import EmbeddedServer
from callboard.errors import CallboardError
from callboard.supervision import Supervisor
from callboard.supervision.specification import Provide
from callboard.system.system import System
from callboard.telemetry import OpenTelemetryInstrumentation
from callboard.testing.stage import MemoryStage, ServerStage, Stage

__all__ = ["ActorTest", "StillWaitingError"]

T = TypeVar("T")

PATIENCE = 10.0
"""Real seconds that a test waits for what should happen at once."""


GRACE = 1.0
"""Real seconds that handlers get to end with the test."""


class StillWaitingError(CallboardError):
    """What a test waits for cannot happen yet, or does not."""


class ActorTest:
    """Runs actors for a test: ``async with ActorTest(Delays) as system: ...``.

    They run as `System` runs them: supervisors, retries, dead letters, dependencies. By default on an in-memory broker
    with JetStream's semantics and a clock that stands still; the same test runs on a real server of its own with the
    option ``--callboard-server=real`` of the pytest plugin, or on a given one with ``server=URL``. There time passes by
    itself.

    `actors` are actor classes and functions, or one `Supervisor`; `provide` gives their constructors what they ask
    for, as `Supervisor.provide` does. What happens is waited for with `settled()`, never by sleeping.
    """

    on_real_server: ClassVar[bool] = False
    """Whether tests that name no server run on a real one; what the pytest plugin's option sets."""

    def __init__(
        self,
        *actors: Any,
        provide: Provide | None = None,
        name: str = "test",
        config: Config | None = None,
        server: str | None = None,
    ) -> None:
        tree = actors[0] if len(actors) == 1 and isinstance(actors[0], Supervisor) else None
        self._tree = tree or Supervisor(actors, provide=provide)
        self._name = name
        self._config = config
        self._server = server
        self._spans = InMemorySpanExporter()
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self._letters: list[StoredLetter] = []
        self._stack = AsyncExitStack()
        self._system: System | None = None
        self._stage: Stage | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._stage = await self._open(stack)
            self._system = await stack.enter_async_context(
                System(
                    self._tree,
                    name=self._name,
                    grace=GRACE,
                    transport=self._stage.transport,
                    instrumentation=OpenTelemetryInstrumentation(self._provider),
                    config=self._config,
                )
            )
            self._stage.system = self._system
            self._stack = stack.pop_all()
        return self

    async def _open(self, stack: AsyncExitStack) -> Stage:
        if self._server is not None:
            return ServerStage(self._server)
        if self.on_real_server:
            server = await stack.enter_async_context(EmbeddedServer(port=0))
            return ServerStage(server.url, server)
        return MemoryStage()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def system(self) -> System:
        """What runs the actors. Raises `StillWaitingError` outside of the block."""
        if self._system is None:
            raise StillWaitingError("this ActorTest has not begun: use it with 'async with'")
        return self._system

    @property
    def board(self) -> Board:
        """What actors and programs send with: for what the methods here do not do, such as a request in a task."""
        return self.system.board

    @property
    def _its_stage(self) -> Stage:
        if self._stage is None:
            raise StillWaitingError("this ActorTest has not begun: use it with 'async with'")
        return self._stage

    # Sending

    async def publish(
        self,
        topic: str,
        content: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        reply_topic: str | None = None,
        identifier: UUID | None = None,
    ) -> Receipt:
        """`Board.publish`. A topic that no actor of this test declares gets a stream, so that what is handled elsewhere
        can be sent here."""
        await self._its_stage.hold(topic)
        return await self.board.publish(topic, content, headers=headers, reply_topic=reply_topic, identifier=identifier)

    @overload
    async def request(
        self, topic: str, content: Any = None, *, timeout: float = ..., headers: Mapping[str, str] | None = ...
    ) -> Any: ...
    @overload
    async def request(
        self,
        topic: str,
        content: Any = None,
        *,
        returns: type[T],
        timeout: float = ...,
        headers: Mapping[str, str] | None = ...,
    ) -> T: ...
    async def request(
        self,
        topic: str,
        content: Any = None,
        *,
        returns: Any = None,
        timeout: float = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """`Board.request`; `timeout` is by the test's clock.

        Raises `StillWaitingError` when the answer waits for time to pass, and it does not pass by itself: ask with
        `board.request` in a task (`asyncio.create_task`) then, and `advance` meanwhile.
        """
        asking = asyncio.ensure_future(
            self.board.request(topic, content, returns=returns, timeout=timeout, headers=headers)
        )
        try:
            await self._until(asking.done, f"request {topic!r}")
            return await asking
        finally:
            asking.cancel()
            await asyncio.wait({asking})

    # Time

    async def settled(self) -> None:
        """Return when everything has been handled that can be handled now, and everything is started again that
        crashed, except what waits for time to pass. On a real server: when nothing waits at all.

        Raises `StillWaitingError` after 10 real seconds, with what is still at work.
        """
        await self._until(lambda: False, "")
        await self._collect()

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass, with everything that falls due in them, each at its own time. On a real server they
        take as long.

        A handler or a start that waits for something real, such as a database, gets a real second to end before time
        goes on; what takes longer is taken to wait for time. `settled()` waits for all of it.
        """
        await self._its_stage.advance(seconds)
        await self._collect()

    async def _collect(self) -> None:
        self._letters = [letter async for letter in self._its_stage.transport.dead_letters.letters()]

    async def _until(self, done: Callable[[], bool], what: str) -> None:
        """Wait until it is done, or without a name until nothing moves any more."""
        until = monotonic() + PATIENCE
        stage = self._its_stage
        while not done():
            if await stage.at_rest():
                if not what:
                    return
                if stage.stands_still and not done():
                    raise StillWaitingError(
                        f"{what} is not answered before time passes; ask in a task, and advance() meanwhile"
                    )
            if monotonic() > until:
                raise StillWaitingError(
                    f"{what or 'settled()'}: not at rest after {PATIENCE:g} s; at work: {stage.at_work()}"
                )

    # What came out

    @property
    def dead_letters(self) -> Sequence[StoredLetter]:
        """Messages that were given up, oldest first, as of the last `settled()` or `advance()`."""
        return self._letters

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """Spans that have ended so far, in that order."""
        return self._spans.get_finished_spans()

    # Faults

    def lose_acks(self, count: int = 1) -> None:
        """Lose the next acknowledgements on their way: what was handled is delivered again when its lease is over."""
        self._its_stage.faults.acks += count

    async def crash(self, actor: str, error: BaseException | None = None) -> None:
        """Have an actor crash, as an `ActorCrash` in a handler does, and wait until its supervisor has decided."""
        self.system.crash(actor, error)
        await self.settled()

    async def disconnect(self) -> None:
        """Take the message system away: nothing is delivered, stored or acknowledged until `reconnect()`."""
        await self._its_stage.disconnect()

    async def reconnect(self) -> None:
        """End a `disconnect()`."""
        await self._its_stage.reconnect()
