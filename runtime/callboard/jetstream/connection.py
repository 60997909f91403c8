"""One connection to NATS, with the hazards of nats-py kept away from the rest.

nats-py's read loop dies silently when a callback raises, and `connect()` waits for ever when it may reconnect
for ever. So every callback here is guarded, and the first connection is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self
from uuid import uuid4

from attrs import field, frozen
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from callboard.config import Config, NatsSettings, UrlRepr, secret_free
from callboard.errors import CallboardError, ConnectionLostError, NoServerError, PermissionDeniedError
from callboard.jetstream.credential import credentials_of
from callboard.lifecycle import Resource

__all__ = ["DEFAULT_SERVER", "ConnectionOptions", "NatsConnection"]

logger = logging.getLogger("callboard.connection")

DEFAULT_SERVER = "nats://127.0.0.1:4222"
MINIMUM_VERSION = (2, 11)

CONNECT_TIMEOUT = 2.0
"""Seconds for one server to answer."""
RECONNECT_WAIT = 0.25
"""Seconds between two tries of one server: mailboxes resume soon after it is back."""
PING_INTERVAL = 10
FLUSH_TIMEOUT = 2.0
"""Seconds after which a full send buffer stops blocking the sender; nats-py would block for ever."""
PENDING_BYTES = 8 * 1024 * 1024
"""Bytes that wait for the network, or for a reconnection, before publishing fails."""

_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')
_VERBS = {"publish": "publish", "subscription": "subscribe"}


@frozen
class ConnectionOptions:
    """How to reach NATS, and who we are to it. What is a secret is in no repr."""

    servers: tuple[str, ...] = field(default=(DEFAULT_SERVER,), repr=UrlRepr())
    name: str = "callboard"
    """Shown by the server's monitoring."""
    access: NatsSettings = field(default=NatsSettings())
    """Credentials and encryption; its addresses do not count."""

    @property
    def secret_free(self) -> str:
        """The addresses without user and password."""
        return ", ".join(secret_free(server if "://" in server else f"nats://{server}") for server in self.servers)

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """As a configuration says; the default address when it has none."""
        return cls(config.nats.servers or (DEFAULT_SERVER,), config.group, config.nats)


class NatsConnection(Resource):
    """A connection that reconnects for ever and says when it did.

    `on_reconnect` are called after each reconnection, `on_denied(operation, subject)` when the account may not
    `publish` or `subscribe`; the subject is in lower case, because nats-py knows no other. They are plain functions.
    """

    def __init__(self, options: ConnectionOptions) -> None:
        super().__init__()
        self.options = options
        self.client = Client()
        self.on_reconnect: list[Callable[[], None]] = []
        self.on_denied: list[Callable[[str, str], None]] = []
        self._failed: asyncio.Future[None] | None = None
        self._failures = 0
        self._lost: asyncio.Future[None] | None = None
        self._leaving = False
        self._last_error = ""
        self._refused: list[str] = []
        """Inboxes that the server did not let us listen on, in lower case."""

    async def _setup(self) -> None:
        loop = asyncio.get_running_loop()
        self.client = Client()
        self._leaving = False
        self._failures = 0
        self._refused.clear()
        self._failed = loop.create_future()
        self._lost = loop.create_future()
        connecting = asyncio.create_task(self._connect())
        racing: list[asyncio.Future[None]] = [connecting, self._failed]
        try:
            await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise NoServerError(self.options.secret_free, self._last_error)
            await connecting
        except NatsError as error:
            raise NoServerError(self.options.secret_free, str(error)) from error
        finally:
            await _ended(connecting)
            failed, self._failed = self._failed, None
            failed.cancel()
        self._check_server()

    async def _connect(self) -> None:
        await self.client.connect(
            servers=list(self.options.servers),
            name=self.options.name,
            connect_timeout=CONNECT_TIMEOUT,  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]
            ping_interval=PING_INTERVAL,
            max_outstanding_pings=2,
            pending_size=PENDING_BYTES,
            flush_timeout=FLUSH_TIMEOUT,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
            **credentials_of(self.options.access),
        )

    def _check_server(self) -> None:
        version = self.client.connected_server_version
        if (version.major, version.minor) < MINIMUM_VERSION:
            raise CallboardError(
                f"the NATS server at {self.options.secret_free} has version {version.major}.{version.minor}; "
                "Callboard needs 2.11 or later"
            )

    async def _destroy(self) -> None:
        self._leaving = True
        if not self.client.is_closed:
            with suppress(AssertionError):  # of nats-py: its connect() gave up on an argument, nothing is open
                await self.client.close()
        if self._lost is not None and self._lost.done():
            self._lost.exception()

    async def wait_closed(self) -> None:
        """Wait while the connection lives; raises `ConnectionLostError` when it closed for good."""
        await self.setup()
        if self._lost is not None:
            await asyncio.shield(self._lost)

    @staticmethod
    def new_inbox() -> str:
        """A topic that nobody else uses; there is no need to be connected."""
        return f"_INBOX.{uuid4().hex}"

    async def listen(self, arrived: Callable[[Msg], Awaitable[None]], inbox: str) -> Subscription:
        """Hear everything one token below an inbox.

        `arrived` is called for one message at a time; it must not raise and should not wait.
        """
        return await self.client.subscribe(f"{inbox}.*", cb=arrived)  # pyright: ignore[reportUnknownMemberType]

    async def flush(self) -> None:
        """Return when the server has seen everything that was sent.

        Raises `NoServerError`, and `PermissionDeniedError` when it refused an inbox since the last time: to nats-py a
        refused subscription looks like any other. When this is cancelled, nats-py still gets the answer that it waits
        for: without anybody to take it, its read loop would die.
        """
        flushing = asyncio.ensure_future(self.client.flush())
        flushing.add_done_callback(_taken)
        try:
            await asyncio.shield(flushing)
        except (NatsError, TimeoutError) as error:
            raise NoServerError(self.options.secret_free, _reason(error)) from error
        if self._refused:
            inbox = self._refused[0].replace("_inbox.", "_INBOX.")
            self._refused.clear()
            raise PermissionDeniedError(inbox, "the account may not subscribe there; allow it to subscribe to _INBOX.>")

    @property
    def max_payload(self) -> int:
        """Bytes of headers and body that the server accepts in one message."""
        return int(self.client.max_payload)

    # Callbacks of nats-py: coroutine functions, and none may raise.

    async def _on_error(self, error: Exception) -> None:
        self._last_error = text = _reason(error)
        if self._failed is not None:
            self._failures += 1
            if self._failures >= len(self.options.servers) and not self._failed.done():
                self._failed.set_result(None)
            return
        if denied := _DENIED.search(text):
            self._deny(_VERBS[denied[1]], denied[2])
            return
        logger.debug("connection error: %s", text)

    def _deny(self, operation: str, subject: str) -> None:
        logger.error("permission denied: the account may not %s to %s", operation, subject)
        if operation == "subscribe" and subject.startswith("_inbox."):
            self._refused.append(subject)
        for tell in tuple(self.on_denied):
            _guarded(lambda tell=tell: tell(operation, subject))  # type: ignore[misc]

    async def _on_disconnect(self) -> None:
        if not self._leaving:
            logger.warning("disconnected from %s (%s)", self.options.secret_free, self._last_error or "no reason given")

    async def _on_reconnected(self) -> None:
        logger.warning("reconnected to %s", self.options.secret_free)
        for tell in self.on_reconnect:
            _guarded(tell)

    async def _on_closed(self) -> None:
        if self._lost is not None and not self._lost.done() and not self._leaving:
            reason = str(self.client.last_error or self._last_error or "closed")
            self._lost.set_exception(ConnectionLostError(self.options.secret_free, reason))


async def _ended(connecting: asyncio.Task[None]) -> None:
    """Cancel an attempt to connect and wait for its end, which nats-py may delay.

    Its outcome is known, or not wanted.
    """
    connecting.cancel()
    await asyncio.wait([connecting], timeout=CONNECT_TIMEOUT)
    if connecting.done() and not connecting.cancelled():
        connecting.exception()


def _taken(done: asyncio.Future[None]) -> None:
    """Somebody has seen how it ended, also when whoever waited is gone."""
    if not done.cancelled():
        done.exception()


def _reason(error: Exception) -> str:
    """One line for people."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return " ".join(str(error).split()) or type(error).__name__


def _guarded(tell: Callable[[], None]) -> None:
    try:
        tell()
    except Exception:
        logger.exception("a connection listener raised")
