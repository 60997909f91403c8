"""A delivery of JetStream."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping

from nats.errors import Error as NatsError

from callboard.brokers.delivery import BrokerDelivery
from callboard.jetstream.connection import NatsConnection

__all__ = ["JetStreamDelivery", "origin_of"]

logger = logging.getLogger("callboard.mailbox")

_V1_TOKENS = 9
_ACK_SUBJECT = re.compile(r"\$JS\.ACK(?:\.[^.]+\.[^.]+)?\.([^.]+)\.[^.]+\.\d+\.(\d+)\.\d+\.\d+\.\d+(?:\..*)?")


class JetStreamDelivery(BrokerDelivery):
    """Settles through the acknowledgement subject that came with the message."""

    __slots__ = ("_ack_subject", "_connection")

    def __init__(
        self,
        connection: NatsConnection,
        subject: str,
        reply: str,
        body: bytes,
        headers: Mapping[str, str] | None,
        now: float,
    ) -> None:
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
        # $JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.… (servers with a domain; may have more at the end)
        tokens = reply.split(".")
        offset = 0 if len(tokens) == _V1_TOKENS else 2
        # Positional: by name it takes 0.3 microseconds more.
        super().__init__(
            subject,
            headers,
            body,
            tokens[2 + offset],
            int(tokens[5 + offset]),
            int(tokens[4 + offset]),
            tokens[3 + offset],
            now,
            int(tokens[7 + offset]),
        )
        self._connection = connection
        self._ack_subject = reply

    @property
    def token(self) -> str:
        return self._ack_subject

    async def ack(self) -> None:
        if not self.settled:
            self.settled = True
            try:
                self._connection.client.acknowledge(self._ack_subject)
            except NatsError as error:
                self._lost(error)

    async def nak(self, delay: float = 0.0) -> None:
        await self._settle(b'-NAK {"delay": %d}' % round(delay * 1e9) if delay > 0 else b"-NAK")

    async def term(self, reason: str) -> None:
        await self._settle(f"+TERM {reason}".encode())

    async def in_progress(self) -> None:
        # While there is no connection nothing reaches the server in time: then the lease may run out.
        if not self.settled and self._connection.client.is_connected:
            self._send(b"+WPI")
            self.touched = asyncio.get_running_loop().time()

    async def _settle(self, payload: bytes) -> None:
        if not self.settled:
            self.settled = True
            self._send(payload)

    def _send(self, payload: bytes) -> None:
        try:
            self._connection.client.send(self._ack_subject, payload)
        except NatsError as error:
            self._lost(error)

    def _lost(self, error: NatsError) -> None:
        # That is safe: the lease runs out and the message is delivered again.
        logger.warning("settlement of message %s of %s is lost: %s", self.sequence, self.durable, error)


def origin_of(token: str) -> tuple[str, int] | None:
    """Stream and sequence that a delivery's token names; None for a text that is none."""
    match = _ACK_SUBJECT.fullmatch(token)
    return None if match is None else (match[1], int(match[2]))
