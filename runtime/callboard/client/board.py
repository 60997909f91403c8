"""Publish and request, inside a handler and outside."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload
from uuid import UUID, uuid4

from callboard.brokers import wire
from callboard.brokers.publisher import publish_message
from callboard.brokers.topic import check_topic
from callboard.brokers.transport import BrokerTransport, Receipt, ReplyBox, ReplyFrame
from callboard.codec import JSON
from callboard.context import REQUEST_HEADERS_CONTEXT_VAR
from callboard.errors import ContentDecodeError, RemoteError, ReplyContentError, RequestTimeoutError
from callboard.instrumentation import NO_INSTRUMENTATION, Instrumentation, Span
from callboard.message import BrokerMessage, BrokerMessageV1, BrokerMessageV1Payload
from callboard.routing.current import CURRENT

__all__ = ["Board"]

T = TypeVar("T")

DEFAULT_TIMEOUT = 5.0
TTL_MARGIN = 60
"""Seconds that the stream keeps a request longer than its caller waits."""


class Board:
    """Sends messages.

    Inside a handler everything sent carries on the trace and the message's own headers, and a published message's
    identifier is derived from the incoming one, so that a repeated attempt publishes the same identifiers and the
    stream keeps one copy.
    """

    def __init__(self, transport: BrokerTransport, instrumentation: Instrumentation = NO_INSTRUMENTATION) -> None:
        self._transport = transport
        self._instrumentation = instrumentation

    @property
    def servers(self) -> str:
        """Addresses of the servers, without secrets."""
        return self._transport.servers

    async def publish(
        self,
        topic: str,
        content: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        reply_topic: str | None = None,
        identifier: UUID | None = None,
    ) -> Receipt:
        """Publish a message and wait until it is stored.

        `reply_topic` asks whoever handles it to send the answer there. An `identifier` makes repeating safe: the
        stream keeps one message for each identifier and topic inside its duplicate window.

        Raises `TopicError`, `HeaderError`, `ContentEncodeError` or `MessageTooLargeError` before anything is sent;
        `NoStreamError` or another `PublishRefusedError` when it is not stored; `PublishUnknownError` when no
        acknowledgement came although it was retried for at least 15 s. Cancelling leaves the outcome unknown.
        """
        check_topic(topic)
        travelling = self._headers(headers)
        if identifier is None:
            identifier = self._derived(topic, content, travelling)
        message = BrokerMessageV1(
            topic, BrokerMessageV1Payload(content, travelling), identifier=identifier, reply_topic=reply_topic
        )
        return await publish_message(self._transport, self._instrumentation, message, _hops())

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
        """Publish a command or query and wait for its handler's answer: at most `timeout` seconds in all, and inside
        the handler of a request no longer than its own caller waits.

        The answer is structured as `returns`, or comes as plain values. The deadline travels with the request: no
        handler begins it later, and nested requests inherit it. Each call is a new request with a new identifier.

        Raises `RemoteError` when the handler refused or failed, `NoStreamError` or `NoHandlerError` when nobody
        handles the topic (nothing was published), `RequestTimeoutError` when the outcome is unknown,
        `ReplyContentError` when the answer does not fit `returns`, and what `publish` raises.
        """
        message = BrokerMessageV1(topic, BrokerMessageV1Payload(content, self._headers(headers)))
        return await self.ask(message, returns=returns, timeout=timeout)

    async def ask(self, message: BrokerMessage, *, returns: Any = None, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """`request` with a message that is made already. The answer comes to a private inbox, whatever reply topic the
        message names; the same message asked twice is two requests."""
        topic = check_topic(message.topic)
        asking = self._ask(topic, message, returns=returns, timeout=timeout)
        return await self._instrumentation.sending("request", topic, asking)

    async def _ask(self, topic: str, message: BrokerMessage, *, returns: Any, timeout: float) -> Any:
        now = self._transport.clock.now()
        deadline = self._deadline(now + timedelta(seconds=timeout))
        seconds = (deadline - now).total_seconds()
        span = self._instrumentation.request(topic, message.identifier)
        try:
            async with self._transport.clock.timeout(seconds):
                reply = await self._exchange(message, span, deadline, seconds)
        except TimeoutError as error:
            span.fail("RequestTimeoutError")
            raise RequestTimeoutError(topic, seconds) from error
        except BaseException as error:
            span.fail(type(error).__name__, str(error))
            raise
        else:
            span.link(reply.headers)
            return _answer(topic, reply, returns, span)
        finally:
            span.end()

    async def _exchange(self, message: BrokerMessage, span: Span, deadline: datetime, seconds: float) -> ReplyFrame:
        await self._transport.check_handled(message.topic)
        box = self._transport.reply_box()
        try:
            identifier = str(message.identifier)
            system = {
                wire.MESSAGE_ID: f"{identifier}:{box.topic}",
                wire.REPLY_TOPIC: box.topic,
                wire.REPLY_VIA: "core",
                wire.DEADLINE: wire.format_time(deadline),
                wire.TTL: str(max(1, round(seconds)) + TTL_MARGIN),
                **_hops(),
            }
            receipt = await self._transport.publish(wire.encode(message, carrier=span.carrier, system=system))
            span.sent(system[wire.MESSAGE_ID], receipt.stream, receipt.sequence)
            return await _matching(box, identifier)
        finally:
            box.close()

    @staticmethod
    def _deadline(wanted: datetime) -> datetime:
        """When the caller stops waiting: as it wants, but no later than the caller of the request being handled."""
        current = CURRENT.get()
        return wanted if current is None or current.deadline is None else min(wanted, current.deadline)

    @staticmethod
    def _headers(headers: Mapping[str, str] | None) -> dict[str, str]:
        """The headers that travel, the given ones stronger."""
        return {**(REQUEST_HEADERS_CONTEXT_VAR.get() or {}), **(headers or {})}

    @staticmethod
    def _derived(topic: str, content: Any, headers: Mapping[str, str]) -> UUID:
        current = CURRENT.get()
        return uuid4() if current is None else current.output_identifier(topic, JSON.encode(content), headers)


def _hops() -> dict[str, str]:
    """The header that counts handlers in a row, on what a handler sends."""
    current = CURRENT.get()
    return {} if current is None else {wire.HOPS: str(wire.hops_of(current.delivery.headers) + 1)}


async def _matching(box: ReplyBox, identifier: str) -> ReplyFrame:
    """The reply to this request; one with another identifier is not for us."""
    while True:
        reply = await box.get()
        if reply.headers.get(wire.IDENTIFIER, identifier) == identifier:
            return reply


def _answer(topic: str, reply: ReplyFrame, returns: Any, span: Span) -> Any:
    payload = wire.decode_payload(reply.headers, reply.body)
    if payload.ok:
        try:
            return payload.content if returns is None else payload.content_as(returns)
        except ContentDecodeError as misfit:
            raise ReplyContentError(topic, str(misfit)) from misfit
    error = _remote_error(topic, payload)
    span.fail(error.type or "RemoteError", error.message)
    raise error


def _remote_error(topic: str, answer: BrokerMessageV1Payload) -> RemoteError:
    """The error that an error reply stands for, as far as its content says."""
    try:
        detail = answer.content["error"]
        return RemoteError(
            topic,
            status=answer.status,
            type=str(detail["type"]),
            message=str(detail["message"]),
            retryable=bool(detail.get("retryable", False)),
            content=answer.content,
        )
    except (ContentDecodeError, KeyError, TypeError, AttributeError):
        return RemoteError(topic, status=answer.status, message="the reply names no error")
