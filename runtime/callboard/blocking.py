"""Publish and request from programs without an event loop: scripts, Django, threads.

with callboard.blocking.connect() as board:
    board.publish("orders.placed", {"item": "tea"})
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar, overload
from uuid import UUID

from callboard.brokers.transport import Receipt
from callboard.client.board import DEFAULT_TIMEOUT, Board
from callboard.config import Config
from callboard.errors import CallboardError, ClosedError
from callboard.system.connect import connect as connect_async

__all__ = ["BlockingBoard", "connect"]

T = TypeVar("T")


class BlockingBoard:
    """`Board`, with calls that block until they are done. For any number of threads.

    Belongs to the process that made it: a server that forks workers connects in each of them. In async code use
    `callboard.connect()`; there these calls are refused, because they would stop the event loop.
    """

    def __init__(self, board: Board, loop: asyncio.AbstractEventLoop) -> None:
        self._board = board
        self._loop = loop
        self._process = os.getpid()

    @property
    def servers(self) -> str:
        """Addresses of the servers, without secrets."""
        return self._board.servers

    def publish(
        self,
        topic: str,
        content: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        reply_topic: str | None = None,
        identifier: UUID | None = None,
    ) -> Receipt:
        """`Board.publish`: returns when the message is stored."""
        return self._done(
            self._board.publish(topic, content, headers=headers, reply_topic=reply_topic, identifier=identifier)
        )

    @overload
    def request(
        self, topic: str, content: Any = None, *, timeout: float = ..., headers: Mapping[str, str] | None = ...
    ) -> Any: ...
    @overload
    def request(
        self,
        topic: str,
        content: Any = None,
        *,
        returns: type[T],
        timeout: float = ...,
        headers: Mapping[str, str] | None = ...,
    ) -> T: ...
    def request(
        self,
        topic: str,
        content: Any = None,
        *,
        returns: Any = None,
        timeout: float = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """`Board.request`: returns the handler's answer, in at most `timeout` seconds."""
        return self._done(self._board.request(topic, content, returns=returns, timeout=timeout, headers=headers))

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            self._check()
        except CallboardError:
            work.close()
            raise
        return _wait(work, self._loop)

    def _check(self) -> None:
        if self._loop.is_closed():
            raise ClosedError("BlockingBoard")
        if os.getpid() != self._process:
            raise CallboardError("this BlockingBoard was made before the process forked; connect in each process")
        if _is_async():
            raise CallboardError("a BlockingBoard would stop the event loop that runs here; use callboard.connect()")


@contextmanager
def connect(
    servers: str | None = None, *, name: str = "callboard client", config: Config | None = None
) -> Generator[BlockingBoard]:
    """`callboard.connect()` for code that is not async; leaving the block closes the connection.

    The connection lives in a thread of its own, which ends with the block, and with the program. Raises
    `NoServerError` when no server answers, and `AccessDeniedError` when one does not let us in.
    """
    if _is_async():
        raise CallboardError("callboard.blocking.connect() would stop the event loop that runs here; use connect()")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="callboard blocking", daemon=True)
    thread.start()
    stack = AsyncExitStack()
    try:
        board = _wait(stack.enter_async_context(connect_async(servers, name=name, config=config)), loop)
        try:
            yield BlockingBoard(board, loop)
        finally:
            _wait(stack.aclose(), loop)
    finally:
        _wait(_end_others(), loop)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _wait(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    """The outcome of work in the loop's thread. Ctrl-C, or whatever else ends the wait, cancels it."""
    done = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return done.result()
    except BaseException:
        done.cancel()
        raise


async def _end_others() -> None:
    """Let work that was cancelled, such as a connection that nobody waits for any more, come to its end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)


def _is_async() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
