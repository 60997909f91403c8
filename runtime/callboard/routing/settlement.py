"""How a verdict is carried out: outputs are out already, then the reply, then the ack."""

from __future__ import annotations

import logging

from attrs import evolve

from callboard.brokers import wire
from callboard.brokers.attempts import Past
from callboard.brokers.deadletter import DEAD_LETTER_PAUSE, DeadLetter, log_unburied
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.mailbox import Kind
from callboard.brokers.publisher import BrokerPublisher
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.errors import CallboardError, MessageTooLargeError, PublishRefusedError, SubstrateError, TopicError
from callboard.instrumentation import NO_SPAN, Endpoint, Instrumentation, Span
from callboard.message import BrokerMessageV1, BrokerMessageV1Payload
from callboard.routing.attempt import describe, report
from callboard.routing.failure import Settlement, Verdict, error_response
from callboard.routing.request import BrokerResponse

__all__ = ["Settler", "answered", "hand_back", "reply_frame"]

logger = logging.getLogger("callboard.handler")


class Settler:
    """Replies and settles on the transport that the delivery came from; with a `publisher`, replies to topics go
    out through that one.

    Raises `SubstrateError` when the transport is away: the delivery is then not settled.
    """

    def __init__(
        self, subscriber: BrokerSubscriber, instrumentation: Instrumentation, publisher: BrokerPublisher | None = None
    ) -> None:
        self._attempts = subscriber.attempts
        self._transport = subscriber.transport
        self._instrumentation = instrumentation
        self._publisher = publisher

    async def settle(
        self, delivery: BrokerDelivery, endpoint: Endpoint, verdict: Verdict, past: Past, *, span: Span = NO_SPAN
    ) -> float:
        """Carry a verdict out. What was handled is answered before it is acknowledged.

        `past` is what happened before this attempt; `span` is the attempt's, and shows the settlement. Seconds for
        which the mailbox is to pause, because a dead letter could not be stored; else 0.
        """
        settlement = verdict.settlement
        if settlement is Settlement.ACK:
            await self._reply(delivery, endpoint, verdict)
            await delivery.ack()
            span.event("ack")
        elif settlement is Settlement.HAND_BACK:
            await hand_back(delivery, verdict.delay, span)
        elif settlement is Settlement.RETRY:
            await self._attempts.record(delivery, evolve(past, failed=past.failed + 1))
            await _nak(delivery, verdict.delay, span)
        elif settlement is Settlement.DISCARD:
            await self._reply(delivery, endpoint, verdict)
            await _term(delivery, "discarded by policy", span)
        else:
            return await self._bury(delivery, endpoint, verdict, past.failed + 1, span)
        return 0.0

    async def conclude(
        self, delivery: BrokerDelivery, endpoint: Endpoint, verdict: Verdict, past: Past, *, fresh: bool = True
    ) -> float:
        """Settle a message whose handler runs nowhere any more: the attempt is reported, and gets the span that nobody
        ended. With a lease that is not `fresh` a retry is only recorded: somebody else may have the message already.

        Returns what `settle` does.
        """
        attempt = past.failed + 1
        then = f"again in {verdict.delay:.1f} s" if verdict.delay else f"-> {verdict.settlement.value}"
        fields: dict[str, str | int] = {**delivery.log_fields, "actor": endpoint.actor, "attempt": attempt}
        span = self._instrumentation.process(endpoint, delivery)
        token = span.enter()
        try:
            report(f"message {delivery.sequence} of {delivery.durable}", verdict, attempt, then, fields)
            describe(span, attempt, verdict)
            if verdict.settlement is Settlement.RETRY and not fresh:
                await self._attempts.record(delivery, evolve(past, failed=attempt))
                return 0.0
            return await self.settle(delivery, endpoint, verdict, past, span=span)
        finally:
            span.leave(token)
            span.end()

    async def _bury(
        self, delivery: BrokerDelivery, endpoint: Endpoint, verdict: Verdict, attempt: int, span: Span
    ) -> float:
        """Copy, acknowledgement of the copy, reply, term: a message is never given up without its letter."""
        error = verdict.error or CallboardError("no reason given")
        try:
            await self._put(delivery, endpoint, error, attempt)
        except (SubstrateError, PublishRefusedError) as problem:
            log_unburied(delivery, problem)
            await hand_back(delivery, DEAD_LETTER_PAUSE, span)
            return DEAD_LETTER_PAUSE
        await self._reply(delivery, endpoint, verdict)
        await _term(delivery, f"dead letter: {type(error).__name__}", span)
        return 0.0

    async def _put(self, delivery: BrokerDelivery, endpoint: Endpoint, error: BaseException, attempt: int) -> None:
        span = self._instrumentation.dead_letter(endpoint, delivery)
        try:
            letter = DeadLetter.of(delivery, error, attempt, self._transport.clock.now(), actor=endpoint.actor)
            storing = self._transport.dead_letters.put(letter, dict(span.carrier))
            await self._instrumentation.sending("dead_letter", endpoint.topic, storing)
        except BaseException as problem:
            span.fail(type(problem).__name__, str(problem))
            raise
        else:
            mailbox = self._instrumentation.statistics.mailbox(delivery.durable, endpoint.actor, endpoint.topic)
            mailbox.dead_letters[letter.error_type] += 1
        finally:
            span.end()

    async def _reply(self, delivery: BrokerDelivery, endpoint: Endpoint, verdict: Verdict) -> None:
        """Answer, when somebody asked. A reply that its topic cannot take is dead-lettered; the handler does not
        run again for it. One that is too large is replaced by an error reply as well.

        Requests are not answered by handlers of events: whoever owns the topic does that.
        """
        if verdict.reply is None or not (reply_topic := delivery.headers.get(wire.REPLY_TOPIC)):
            return
        if endpoint.kind == Kind.EVENT and self._direct(delivery, reply_topic):
            return
        span = self._instrumentation.reply(endpoint, delivery)
        token = span.enter()
        try:
            self._transport.reply_rules.check(reply_topic, endpoint.topic, wire.hops_of(delivery.headers))
            await self._instrumentation.sending("reply", "", self._send(delivery, verdict.reply, verdict.frame, span))
        except CallboardError as error:
            span.fail(type(error).__name__, str(error))
            logger.error("reply to %s cannot be delivered: %s", reply_topic, error)  # noqa: TRY400
            if verdict.settlement is not Settlement.DEAD_LETTER:  # else it has its letter
                await self._put(delivery, endpoint, error, 1)
            if isinstance(error, MessageTooLargeError):
                await self._send(delivery, error_response(error), None, span)
        except BaseException as error:
            span.fail(type(error).__name__, str(error))
            raise
        finally:
            span.leave(token)
            span.end()

    async def _send(
        self, delivery: BrokerDelivery, response: BrokerResponse, frame: wire.Frame | None, span: Span
    ) -> None:
        """`frame` is the response on the wire, where it was encoded already."""
        direct = self._direct(delivery, delivery.headers[wire.REPLY_TOPIC])
        if self._publisher is not None and not direct:
            await self._publisher.send(_reply_message(delivery, response))
            return
        frame = frame or reply_frame(delivery, response)
        frame.headers.update(span.carrier)
        if not direct:
            frame.headers[wire.HOPS] = str(wire.hops_of(delivery.headers) + 1)
        await (self._transport.send(frame) if direct else self._transport.publish(frame))
        span.sent(frame.headers[wire.MESSAGE_ID])

    def _direct(self, delivery: BrokerDelivery, reply_topic: str) -> bool:
        via = delivery.headers.get(wire.REPLY_VIA)
        return via == "core" or (via != "stream" and self._transport.is_inbox(reply_topic))


async def hand_back(delivery: BrokerDelivery, delay: float, span: Span) -> None:
    """Give a message back that costs no attempt, whatever its verdict was."""
    span.set("callboard.settlement", Settlement.HAND_BACK.value)
    await _nak(delivery, delay, span)


async def _nak(delivery: BrokerDelivery, delay: float, span: Span) -> None:
    await delivery.nak(delay)
    span.event("nak", {"callboard.delay": delay})


async def _term(delivery: BrokerDelivery, reason: str, span: Span) -> None:
    await delivery.term(reason)
    span.event("term", {"callboard.reason": reason})


def answered(delivery: BrokerDelivery, response: BrokerResponse) -> Verdict:
    """The verdict on a success that somebody waits for. Raises `ContentEncodeError` or `HeaderError`."""
    try:
        return Verdict(Settlement.ACK, reply=response, frame=reply_frame(delivery, response))
    except TopicError:  # the request's fault, not the handler's: the settler reports it
        return Verdict(Settlement.ACK, reply=response)


def reply_frame(delivery: BrokerDelivery, response: BrokerResponse) -> wire.Frame:
    """An answer on the wire: the request's identifier and headers, no reply topic of its own.

    Raises `ContentEncodeError`, `HeaderError` or `TopicError`.
    """
    identifier = str(delivery.identifier)
    return wire.encode_reply(
        delivery.headers[wire.REPLY_TOPIC],
        response.content,
        _reply_headers(delivery, response),
        response.status,
        identifier,
        f"reply:{delivery.durable}:{delivery.stream}:{delivery.sequence}:{identifier}",
    )


def _reply_message(delivery: BrokerDelivery, response: BrokerResponse) -> BrokerMessageV1:
    """The same for a publisher."""
    return BrokerMessageV1(
        delivery.headers[wire.REPLY_TOPIC],
        BrokerMessageV1Payload(response.content, _reply_headers(delivery, response), response.status),
        identifier=delivery.identifier,
    )


def _reply_headers(delivery: BrokerDelivery, response: BrokerResponse) -> dict[str, str]:
    own = response.headers
    return wire.travelling(wire.own_headers(delivery.headers)) if own is None else own
