"""One connection to NATS, with the hazards of nats-py kept away from the rest.

nats-py's read loop dies silently when a callback raises or a flush is cancelled, and its client closes for good at
errors that a new one may not meet. `connect()` waits for ever when it may reconnect for ever. So every callback here is
guarded, the first connection is bounded, and a client that is closed or deaf is replaced.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self
from urllib.parse import ParseResult
from uuid import uuid4

from attrs import field, frozen
from nats.errors import Error as NatsError

from callboard.backoff import Backoff
from callboard.config import Config, NatsSettings, UrlRepr, resolved, secret_free
from callboard.errors import AccessDeniedError, CallboardError, NoServerError, PermissionDeniedError, SubstrateError
from callboard.jetstream.client import Arrived, NatsClient
from callboard.jetstream.credential import credentials_of, who_is
from callboard.jetstream.listener import Listener
from callboard.lifecycle import Resource

__all__ = ["DEFAULT_SERVER", "ConnectionOptions", "NatsConnection"]

logger = logging.getLogger("callboard.connection")

DEFAULT_SERVER = "nats://127.0.0.1:4222"
MINIMUM_VERSION = (2, 11)

CONNECT_TIMEOUT = 2.0
"""Seconds for one server to answer."""
RECONNECT_WAIT = 0.25
"""Seconds between two tries of one server: mailboxes resume soon after it is back."""
PING_INTERVAL = 1
LOST_PINGS = 3
"""A server that answers no ping for 4 s is given up: sooner than an election ends, so that mailboxes are back then."""
FLUSH_TIMEOUT = 2.0
"""Seconds after which a full send buffer stops blocking the sender; nats-py would block for ever."""
PENDING_BYTES = 8 * 1024 * 1024
"""Bytes that wait for the network, or for a reconnection, before publishing fails."""

WATCH = 1.0
"""Seconds between two looks whether anything arrived."""
SILENT_LOOKS, DEAF_LOOKS = 3, 7
"""Looks in a row without any message after which one is sent to ourselves, and after which the client is deaf."""
PATIENT = Backoff(base=0.25, maximum=1.0)
"""Between two tries to replace a client."""

_REFUSED = re.compile(r"authorization|authentication|\balert\b", re.IGNORECASE)
"""Words of a server that does not let us in; alerts are those of TLS."""
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
        """As a configuration says; the default address when it has none. Raises `ConfigError` for a context that cannot
        be used."""
        access = resolved(config.nats)
        return cls(access.servers or (DEFAULT_SERVER,), config.group, access)


class NatsConnection(Resource):
    """A connection that reconnects for ever and says when it did. What listens on it goes on listening.

    `on_reconnect` are called after each reconnection, `on_denied(operation, subject)` when the account may not
    `publish` or `subscribe`; the subject is in lower case, because nats-py knows no other. They are plain functions.
    """

    def __init__(self, options: ConnectionOptions) -> None:
        super().__init__()
        self.options = options
        self.client = NatsClient()
        self.on_reconnect: list[Callable[[], None]] = []
        self.on_denied: list[Callable[[str, str], None]] = []
        self._failed: asyncio.Future[str] | None = None
        """While the first connection is made: gets why it cannot be."""
        self._servers: list[str] = []
        self._failures = 0
        self._gone = asyncio.Event()
        self._listeners: list[Listener] = []
        self._probe = self.new_inbox()
        self._watching: asyncio.Task[None] | None = None
        self._replacing: asyncio.Task[None] | None = None
        self._leaving = False
        self._last_error = ""
        self._refused: list[str] = []
        """Inboxes that the server did not let us listen on, in lower case."""
        self._may_probe = True

    async def _setup(self) -> None:
        self._leaving = False
        self._gone.clear()
        await self._open()
        await self.listen(_ignored, f"{self._probe}.*")
        self._watching = asyncio.create_task(self._watch(), name="callboard connection")

    async def _open(self) -> None:
        # Those that the cluster announced count too: the one that we were given may be the one that is away.
        self._servers = [*self.options.servers, *map(self._announced, self.client.discovered_servers)]
        self.client = NatsClient()
        self._failures = 0
        self._refused.clear()
        self._failed = asyncio.get_running_loop().create_future()
        connecting = asyncio.create_task(self._connect())
        racing: list[asyncio.Future[Any]] = [connecting, self._failed]
        try:
            await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise self._unreachable(self._failed.result())
            await connecting
        except NatsError as error:
            raise self._unreachable(str(error)) from error
        finally:
            await _ended(connecting)
            failed, self._failed = self._failed, None
            failed.cancel()
        self._check_server()

    def _unreachable(self, reason: str) -> SubstrateError:
        """Why there is no connection."""
        if _REFUSED.search(reason):
            return AccessDeniedError(self.options.secret_free, who_is(self.options.access), reason)
        return NoServerError(self.options.secret_free, reason)

    def _announced(self, uri: ParseResult) -> str:
        """The address of an announced server, with user and password where ours have them in the address."""
        given = self.options.servers[0].rpartition("@")[0].rpartition("//")[2]
        return uri.geturl() if "@" in uri.netloc or not given else uri._replace(netloc=f"{given}@{uri.netloc}").geturl()

    async def _connect(self) -> None:
        await self.client.connect(
            servers=self._servers,
            name=self.options.name,
            connect_timeout=CONNECT_TIMEOUT,  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]
            ping_interval=PING_INTERVAL,
            max_outstanding_pings=LOST_PINGS,
            pending_size=PENDING_BYTES,
            flush_timeout=FLUSH_TIMEOUT,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
            inbox_prefix=self.options.access.inbox_prefix,
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
        tasks = [task for task in (self._watching, self._replacing) if task is not None]
        self._watching = self._replacing = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._listeners.clear()
        await self._close()
        self._gone.set()

    async def _close(self) -> None:
        client = self.client  # may be replaced meanwhile
        try:
            if not client.is_closed:
                with suppress(AssertionError):  # of nats-py: its connect() gave up on an argument, nothing is open
                    await client.close()
        finally:
            client.hang_up()

    async def wait_closed(self) -> None:
        """Wait until somebody destroys the connection: by itself it does not end."""
        await self.setup()
        await self._gone.wait()

    # A client that is closed or deaf

    async def _watch(self) -> None:
        """Replace a client that hears nothing any more, not even itself, though it says that it is connected."""
        heard, looks = -1, 0
        while True:
            await asyncio.sleep(WATCH)
            now = self.client.stats["in_msgs"]
            looks = looks + 1 if now == heard and self.client.is_connected else 0
            heard = now
            try:
                if self.client.is_closed:
                    self._replace()
                elif looks >= SILENT_LOOKS and self._may_probe:
                    await self._knock(deaf=looks >= DEAF_LOOKS)
            except Exception:
                logger.exception("the connection to %s could not be looked at", self.options.secret_free)

    async def _knock(self, *, deaf: bool) -> None:
        if deaf:
            logger.error("the connection to %s hears nothing any more", self.options.secret_free)
            closing = asyncio.ensure_future(self._close())
            closing.add_done_callback(_taken)
            await asyncio.wait({closing}, timeout=CONNECT_TIMEOUT)
            self._replace()
            return
        with suppress(NatsError):
            self.client.send(f"{self._probe}.1")

    def _replace(self) -> None:
        if not self._leaving and (self._replacing is None or self._replacing.done()):
            self._replacing = asyncio.create_task(self._replace_client(), name="callboard reconnection")

    async def _replace_client(self) -> None:
        tries = 0
        while True:
            await asyncio.sleep(PATIENT.delay(tries))
            tries += 1
            try:
                await self._open()
                for listener in tuple(self._listeners):
                    await listener.attach(self.client)
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may not meet it
                logger.log(logging.DEBUG if tries % 10 else logging.ERROR, "no new connection yet: %s", error)
                with suppress(Exception):
                    await self._close()
        await self._on_reconnected()

    def new_inbox(self) -> str:
        """A topic that nobody else uses; there is no need to be connected."""
        return f"{self.options.access.inbox_prefix}.{uuid4().hex}"

    def is_inbox(self, subject: str) -> bool:
        """Whether a subject, also one in lower case, is one of our inboxes."""
        return subject.lower().startswith(f"{self.options.access.inbox_prefix}.".lower())

    async def listen(self, arrived: Arrived, subject: str, *, denied: Callable[[], None] | None = None) -> Listener:
        """Hear everything on a subject; wildcards work.

        `denied` is called instead of an error whenever the account may not listen there.
        """
        listener = Listener(subject, arrived, self._forget, denied)
        self._listeners.append(listener)
        await listener.attach(self.client)
        return listener

    def _forget(self, listener: Listener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

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
            prefix = self.options.access.inbox_prefix
            inbox = f"{prefix}{self._refused[0].removeprefix(prefix.lower())}"
            self._refused.clear()
            raise PermissionDeniedError(
                inbox,
                f"the account may not subscribe there; allow it to subscribe to {prefix}.>, or name what it may in "
                "'nats.inbox_prefix'",
            )

    @property
    def max_payload(self) -> int:
        """Bytes of headers and body that the server accepts in one message."""
        return int(self.client.max_payload)

    # Callbacks of nats-py: coroutine functions, and none may raise.

    async def _on_error(self, error: Exception) -> None:
        self._last_error = text = _reason(error)
        if self._failed is not None:
            self._failures += 1
            if self._failures >= len(self._servers) and not self._failed.done():
                self._failed.set_result(text)
            return
        if denied := _DENIED.search(text):
            self._deny(_VERBS[denied[1]], denied[2])
            return
        logger.debug("connection error: %s", text)

    def _deny(self, operation: str, subject: str) -> None:
        if subject.startswith(self._probe.lower()):
            self._may_probe = False
            return
        for listener in tuple(self._listeners) if operation == "subscribe" else ():
            if listener.denied is not None and listener.subject.lower() == subject:
                _guarded(listener.denied)
                return
        logger.error("permission denied: the account may not %s to %s", operation, subject)
        if operation == "subscribe" and self.is_inbox(subject):
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
        if self._leaving or self._watching is None or (self._replacing is not None and not self._replacing.done()):
            return
        reason = str(self.client.last_error or self._last_error or "no reason given")
        logger.error("the connection to %s closed (%s); making another", self.options.secret_free, reason)
        self._replace()


async def _ended(connecting: asyncio.Task[None]) -> None:
    """Cancel an attempt to connect and wait for its end, which nats-py may delay.

    Its outcome is known, or not wanted.
    """
    connecting.cancel()
    await asyncio.wait([connecting], timeout=CONNECT_TIMEOUT)
    if connecting.done() and not connecting.cancelled():
        connecting.exception()


def _ignored(*message: object) -> None:
    """That it came is all that counts."""


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
