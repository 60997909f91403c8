"""nats-py's client with a short way in and a short way out.

The fast path of the network, in one place. nats-py gives each subscription a queue and a task, reads each message by
regular expressions, and sends each by four coroutines: 6 of the 8 microseconds of a loop that receives and acknowledges
(CPython 3.11). Here what arrives is handed over at once by the task that reads, and what is sent joins what waits to be
written. Connecting, reconnecting, pings and everything else are nats-py's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import (
    AuthorizationError,
    BadSubjectError,
    ConnectionClosedError,
    OutboundBufferLimitError,
    ProtocolError,
)
from nats.errors import Error as NatsError
from nats.protocol.parser import Parser

from callboard.brokers.wire import headers_of

__all__ = ["Arrived", "NatsClient"]

logger = logging.getLogger("callboard.connection")

Arrived = Callable[[str, str, bytes, "dict[str, str] | None"], None]
"""What is called with the subject, reply subject, body and headers of a message."""

_AT_ONCE = 64 * 1024
_MESSAGES = {b"MSG": 4, b"HMSG": 5}
"""Lines that bring a message, and their parts where no reply is wanted."""


class NatsClient(Client):
    """A client for plain functions: `hear` calls one for each message, `send` waits for nothing.

    Also keeps the order of what is sent: nats-py's `flush()` and `drain()` write their PING ahead of what waits. The
    PONG then says nothing about that: not that the server has it, nor, after an UNSUB, that no message follows.
    """

    # What this uses of nats-py's private parts is used nowhere else.

    def __init__(self) -> None:
        super().__init__()
        self.hearing: dict[bytes, Arrived] = {}
        """By number of the subscription, as messages name it."""
        self._ps = _Reader(self)
        self._written: asyncio.Future[None] | None = None
        """Nobody waits for what is given to nats-py's flusher here."""

    async def hear(self, subject: str, arrived: Arrived) -> Subscription:
        """Have `arrived` called for everything on a subject. It must not wait; what it raises is logged.

        Raises what nats-py's `subscribe` raises.
        """
        number = b"%d" % (self._sid + 1)
        self.hearing[number] = arrived
        try:
            return await self.subscribe(subject)  # pyright: ignore[reportUnknownMemberType]
        except BaseException:
            self.hearing.pop(number, None)
            raise

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self.hearing.pop(b"%d" % sid, None)
        super()._remove_sub(sid, max_msgs)

    def send(self, subject: str, body: bytes = b"", *, reply: str = "", headers: bytes = b"") -> None:
        """Send a message; headers as `wire.header_block` makes them.

        Raises `BadSubjectError`, `ConnectionClosedError`, or `OutboundBufferLimitError` while disconnected when no more
        can wait.
        """
        address = f"{subject} {reply}" if reply else subject
        if len(address.split()) != (2 if reply else 1):
            raise BadSubjectError
        if headers:
            command = f"HPUB {address} {len(headers)} {len(headers) + len(body)}\r\n".encode()
        else:
            command = f"PUB {address} {len(body)}\r\n".encode()
        self._write(b"%b%b%b\r\n" % (command, headers, body))

    def _write(self, command: bytes) -> None:
        if self.is_closed:
            raise ConnectionClosedError
        size = self._pending_data_size + len(command)
        if size > self._max_pending_size and not self.is_connected:
            raise OutboundBufferLimitError
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(command)
        if not self._pending and self.is_connected:
            self._wake_flusher()
        self._pending.append(command)
        self._pending_data_size = size

    def _wake_flusher(self) -> None:
        """Have nats-py's task write what waits, once in a turn of the event loop."""
        if self._flush_queue is None or self._flush_queue.full():  # full: it is awake already
            return
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
            self._written.set_result(None)
        self._flush_queue.put_nowait(self._written)

    def acknowledge(self, subject: str) -> None:
        """Send an empty message to the subject that came with a message. Raises as `send` does."""
        self._write(b"PUB %b 0\r\n\r\n" % subject.encode())

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be written that who sends much should wait for `written`."""
        return self._pending_data_size > self._max_pending_size

    async def written(self) -> None:
        """Wait until the network has taken what was sent, for at most the flush timeout."""
        await self._flush_pending(force_flush=True)

    async def _process_connect_init(self) -> None:
        """Also raises `AuthorizationError` when a server that asked for credentials hangs up without a word: its own
        does not always arrive before that."""
        _read_less_at_once(self._transport)
        before = self._server_info
        try:
            await super()._process_connect_init()
        except ConnectionError as error:
            raise (AuthorizationError if self._is_choosy(before) else error) from None
        if not self.is_connected:
            raise AuthorizationError if self._is_choosy(before) else NatsError("the server hung up")

    def hang_up(self) -> None:
        """Let go of what an attempt to connect has opened: nats-py forgets it when it is cancelled. Idempotent."""
        for writer in ("_io_writer", "_bare_io_writer"):  # the other one is what TLS was put upon
            socket: Any = getattr(getattr(self._transport, writer, None), "transport", None)
            if socket is not None:
                socket.abort()

    def _is_choosy(self, before: dict[str, Any]) -> bool:
        """Whether the server has said, since `before`, that it wants credentials or a certificate."""
        info = self._server_info
        return info is not before and bool(info.get("auth_required") or info.get("tls_verify"))

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002
        await super()._process_info(info, initial_connection)
        if initial_connection and self._encrypts and not info.get("tls_required"):
            # nats-py would go on without encryption, and send the credentials in the clear.
            if not info.get("tls_available"):
                raise NatsError("the server does not encrypt")
            info["tls_required"] = True

    @property
    def _encrypts(self) -> bool:
        """Whether the connection has to be encrypted now, and is not yet."""
        if self.options["tls_handshake_first"] or self._current_server is None:
            return False
        scheme = self._current_server.uri.scheme
        return scheme == "tls" or (scheme != "wss" and "tls" in self.options)

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        if future is not None:  # somebody waits for its PONG
            await self._flush_pending(force_flush=True)
        await super()._send_ping(future)  # pyright: ignore[reportUnknownMemberType]


def _read_less_at_once(transport: Any) -> None:
    """Have asyncio ask the socket for 64 KiB at a time. Of its 256 KiB glibc makes a heap that grows: by 14 % from the
    100,000th to the 1,000,000th message, instead of 0.1 %."""
    socket: Any = getattr(getattr(transport, "_io_writer", None), "transport", None)
    if hasattr(socket, "max_size"):
        socket.max_size = _AT_ONCE


class _Reader(Parser):
    """Reads messages itself, and leaves all other lines of the protocol to nats-py."""

    def __init__(self, client: NatsClient) -> None:
        super().__init__(client)  # pyright: ignore[reportUnknownMemberType]
        self._client = client

    def reset(self) -> None:
        super().reset()
        self._parts: list[bytes] = []
        """The beginning of a message or a line that has not arrived whole."""
        self._have = 0
        self._wanted = 0
        """Its bytes, as far as they are known."""

    async def parse(self, data: bytes = b"") -> None:
        if not (data := self._with_beginning(data)):
            return
        position, size, self._wanted = 0, len(data), 0
        while (end := data.find(b"\r\n", position)) >= 0:
            begin = end + 2
            # MSG subject number [reply] size, or HMSG subject number [reply] size-of-headers size
            fields = data[position:end].split()
            kind = fields[0] if fields else b""
            if kind not in _MESSAGES:
                await super().parse(data[position:begin])
                if not self._client.is_connected:
                    return
                position = begin
                continue
            try:
                after = begin + int(fields[-1]) + 2
                body = begin if kind == b"MSG" else begin + int(fields[-2])
                arrived = self._client.hearing.get(fields[2])
            except (ValueError, IndexError):
                raise ProtocolError(f"malformed line {data[position:end]!r:.80}") from None
            if after > size:
                self._wanted = after - position
                break
            reply = fields[3] if len(fields) > _MESSAGES[kind] else b""
            position = after
            if arrived is None:
                await self._client._process_msg(  # noqa: SLF001 # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
                    int(fields[2]), fields[1], reply, data[body : after - 2], data[begin:body]
                )
                continue
            self._client.stats["in_msgs"] += 1
            headers = headers_of(data[begin:body]) if body > begin else None
            try:
                arrived(fields[1].decode(), reply.decode(), data[body : after - 2], headers)
            except Exception:
                logger.exception("a message on %s could not be taken", fields[1])
        if position < size:
            self._parts.append(data[position:])
            self._have = size - position

    def _with_beginning(self, data: bytes) -> bytes:
        """What has arrived and is not read yet; nothing before all of it is there that is wanted."""
        if not self._parts:
            return data
        self._parts.append(data)
        self._have += len(data)
        if self._have < self._wanted:
            return b""
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole
