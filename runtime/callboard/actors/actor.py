"""The base class of actors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar, overload

from callboard.actors.declaration import declare_class
from callboard.brokers.topic import TopicTemplate
from callboard.brokers.transport import Receipt
from callboard.client.board import DEFAULT_TIMEOUT, Board
from callboard.errors import ClosedError, did_you_mean
from callboard.message import BrokerMessage
from callboard.routing.pipeline import Middleware

__all__ = ["Actor"]

T = TypeVar("T")

logger = logging.getLogger("callboard.actor")


class Actor:
    """Handlers that share an instance, a concurrency limit and a supervisor.

    One instance lives in each process. With `concurrency = 1` (the default) it handles one message at a time and
    needs no locks. Its state belongs to that process and is gone after a restart; what must survive lives in a
    database. While a message is handled it stays in its mailbox: when the process dies it is delivered again.

    Class attributes are options (`concurrency`, `timeout`, `retry`, `failures`, `ack_wait`, `start`, `order`: see
    `HandlerOptions`) and the declarations below. Constructor parameters are filled by annotation from the
    supervisor's `provide`. A subclass that cannot work raises `DeclarationError` at its class statement.

    Hooks are methods: `_pre_command_handle`, `_pre_query_handle` and `_pre_event_handle` take the request and give
    the one that is handled, `_post_command_handle` and so on take the response and give the one that is replied;
    async or not (a plain one runs in a thread). `__get_enroute__`, a static or class method, may name the handlers
    instead of decorators: it returns a mapping from the names of methods to one decorator or several.
    """

    name: ClassVar[str]
    """Part of the mailboxes' identity; the class name unless set."""
    renamed_from: ClassVar[str | None] = None
    """The actor's former name: its mailboxes are taken over."""
    publishes: ClassVar[Mapping[str, Any]] = {}
    """Topics that this actor publishes to, with the types of their content. Their streams are created at start."""
    middleware: ClassVar[Sequence[Middleware]] = ()
    """What stands around every handler, the first one outermost: `async (request, call_next) -> response`."""

    __callboard_board: Board | None = None
    __callboard_noticed: ClassVar[set[str]]
    """Undeclared topics that were logged already."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__
        cls.__callboard_noticed = set()
        declare_class(cls)

    async def on_start(self) -> None:
        """Called before the first message. Raising counts as a crash: the supervisor tries again."""

    async def on_stop(self) -> None:
        """Called once after the last message, also before a restart. What it raises is logged."""

    async def on_failure(self, error: BaseException, message: BrokerMessage) -> None:
        """Called after each failed attempt, before the message is retried or dead-lettered, and after a crash; not for
        refusals, unreadable messages and outages. What it raises is logged."""

    def __callboard_attach__(self, board: Board) -> None:
        """Give the instance its door; called by its cell."""
        self.__callboard_board = board

    @property
    def _board(self) -> Board:
        if self.__callboard_board is None:
            raise ClosedError(f"{type(self).__name__}.publish and .request: an actor that does not run yet")
        return self.__callboard_board

    async def publish(
        self,
        topic: str,
        content: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        reply_topic: str | None = None,
    ) -> Receipt:
        """Publish and wait until it is stored; a repeated attempt of the same message stores nothing twice.

        A topic that `publishes` does not declare is logged once. See `Board.publish` for guarantees and errors.
        """
        self.__notice(topic)
        return await self._board.publish(topic, content, headers=headers, reply_topic=reply_topic)

    def __notice(self, topic: str) -> None:
        if topic in self.publishes or topic in self.__callboard_noticed:
            return
        self.__callboard_noticed.add(topic)
        if not any(TopicTemplate.parse(declared).matches(topic) for declared in self.publishes):
            hint = did_you_mean(topic, self.publishes)
            logger.warning("%s publishes to %r, which its 'publishes' does not declare%s", self.name, topic, hint)

    @overload
    async def request(
        self,
        topic: str,
        content: Any = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> Any: ...
    @overload
    async def request(
        self,
        topic: str,
        content: Any = None,
        *,
        returns: type[T],
        timeout: float = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
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
        """Ask another handler and wait for its answer. See `Board.request` for guarantees and errors."""
        return await self._board.request(topic, content, returns=returns, timeout=timeout, headers=headers)
