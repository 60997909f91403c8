"""One run of one handler: its context variables, its answer, and what a failure means.

What the handler loop and `BrokerDispatcher.dispatch` have in common. `respond` is on the hot path.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from math import inf
from typing import Any

from callboard.brokers import wire
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.mailbox import Kind
from callboard.clock import Clock
from callboard.codec import JSON, codec_for
from callboard.context import (
    REQUEST_HEADERS_CONTEXT_VAR,
    REQUEST_REPLY_TOPIC_CONTEXT_VAR,
    REQUEST_USER_CONTEXT_VAR,
)
from callboard.errors import ActionNotFoundError, CallboardError
from callboard.instrumentation import NO_SPAN, Endpoint, Span
from callboard.lifecycle import being_cancelled
from callboard.message import BrokerMessage
from callboard.routing.action import Action
from callboard.routing.current import CURRENT, Current
from callboard.routing.failure import FailureClass, FailurePolicy, Verdict, error_response
from callboard.routing.request import BrokerResponse, user_of
from callboard.routing.stage import OPEN_STAGE, Stage

__all__ = [
    "UNHANDLED",
    "answer",
    "describe",
    "ends_task",
    "found",
    "judge",
    "remaining",
    "report",
    "respond",
    "run_directly",
    "tell",
]

logger = logging.getLogger("callboard.handler")

UNHANDLED = Endpoint(topic="(unhandled)", kind="", actor="", function="")
"""What telemetry sees where there is no handler."""

_NO_RETRY = FailurePolicy(delays=())


async def respond(
    action: Action, message: BrokerMessage, current: Current | None, stage: Stage, *, wanted: bool
) -> BrokerResponse:
    """Run a handler with its context variables set, which are as before afterwards. Raises what it raises.

    Where an answer is `wanted`, it comes with the headers that go on the reply: what the headers variable holds when
    the handler ends, and the response's own.
    """
    own = message.headers
    tokens = (
        CURRENT.set(current),
        REQUEST_HEADERS_CONTEXT_VAR.set(wire.travelling(own)),
        REQUEST_REPLY_TOPIC_CONTEXT_VAR.set(message.reply_topic),
        REQUEST_USER_CONTEXT_VAR.set(user_of(own)),
    )
    try:
        response = await action.perform(message, stage)
        return _with_headers(response) if wanted else response
    finally:
        CURRENT.reset(tokens[0])
        REQUEST_HEADERS_CONTEXT_VAR.reset(tokens[1])
        REQUEST_REPLY_TOPIC_CONTEXT_VAR.reset(tokens[2])
        REQUEST_USER_CONTEXT_VAR.reset(tokens[3])


def _with_headers(result: Any) -> BrokerResponse:
    """What a handler returned as the response that is sent, with the headers that the headers variable holds now."""
    headers = REQUEST_HEADERS_CONTEXT_VAR.get() or {}
    if not isinstance(result, BrokerResponse):
        return BrokerResponse(result, headers=headers)
    return BrokerResponse(result.content, status=result.status, headers={**headers, **(result.headers or {})})


async def run_directly(action: Action, delivery: BrokerDelivery, current: Current) -> BrokerResponse | None:
    """`respond` on the fast path: to a message with plain headers, by a handler that wants no request, in a slot's own
    context. No message and payload are made, and variables that are None already are not set: 3 of 12 microseconds
    (CPython 3.11). None when nobody waits for the answer."""
    reply_topic = delivery.headers.get(wire.REPLY_TOPIC) if delivery.headers else None
    tokens = (CURRENT.set(current), REQUEST_HEADERS_CONTEXT_VAR.set({}))
    asked = REQUEST_REPLY_TOPIC_CONTEXT_VAR.set(reply_topic) if reply_topic else None
    try:
        codec = codec_for(delivery.headers.get(wire.CONTENT_TYPE)) if delivery.headers else JSON
        captured = action.template.captures(delivery.topic)
        result = await action.function(**action.signature.direct_arguments(codec, delivery.body, captured))
        return _with_headers(result) if reply_topic else None
    finally:
        CURRENT.reset(tokens[0])
        REQUEST_HEADERS_CONTEXT_VAR.reset(tokens[1])
        if asked is not None:
            REQUEST_REPLY_TOPIC_CONTEXT_VAR.reset(asked)
        elif REQUEST_REPLY_TOPIC_CONTEXT_VAR.get() is not None:  # the handler's doing
            REQUEST_REPLY_TOPIC_CONTEXT_VAR.set(None)
        if REQUEST_USER_CONTEXT_VAR.get() is not None:
            REQUEST_USER_CONTEXT_VAR.set(None)


def found(action: Action | None, topic: str) -> Action:
    """The handler of a topic. Raises `ActionNotFoundError` where there is none."""
    if action is None:
        raise ActionNotFoundError(topic)
    return action


def ends_task(error: BaseException) -> bool:
    """Whether an exception ends the task and not just the message: somebody cancels the task, or the process ends.

    A handler may raise `CancelledError` by itself, and frameworks raise subclasses of `BaseException`.
    """
    if isinstance(error, asyncio.CancelledError):
        return being_cancelled()
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)


def judge(
    action: Action | None, error: BaseException, *, attempt: int | None = None, remaining: float = inf
) -> Verdict:
    """The verdict of a handler's policy on a failed attempt; without a number, on one that is not to be repeated."""
    if action is None:
        return _NO_RETRY.judge(error, attempt=1, remaining=remaining)
    number = len(action.policy.delays) + 1 if attempt is None else attempt
    drop = action.kind is Kind.QUERY
    return action.policy.judge(error, attempt=number, remaining=remaining, drop_expired=drop)


def remaining(delivery: BrokerDelivery, clock: Clock) -> float:
    """Seconds until the deadline of a request; infinite without one."""
    expires = wire.parse_time(delivery.headers.get(wire.DEADLINE)) if delivery.headers else None
    return inf if expires is None else (expires - clock.now()).total_seconds()


def report(
    message: str, verdict: Verdict, attempt: int, then: str, fields: Mapping[str, str | int] | None = None
) -> None:
    """One line for each failed attempt, the traceback with the last one only.

    `fields` are what its log record cannot know, because the attempt is not this task's.
    """
    error = verdict.error
    if verdict.failure is FailureClass.REFUSAL:
        logger.debug("%s refused: %s", message, error)
        return
    logger.warning(
        "%s failed (attempt %d, %s): %s: %s; %s",
        message,
        attempt,
        verdict.failure.value if verdict.failure else "",
        type(error).__name__,
        error,
        then,
        extra={"settlement": verdict.settlement.value, **(fields or {})},
        exc_info=error if verdict.reply is not None and not isinstance(error, CallboardError) else None,
    )


def describe(span: Span, attempt: int, verdict: Verdict) -> None:
    """Show on its span how an attempt ended."""
    span.set("callboard.attempt", attempt)
    span.set("callboard.settlement", verdict.settlement.value)
    tell(span, verdict)


def tell(span: Span, verdict: Verdict) -> None:
    """Mark an attempt's span as failed, if it did; a refusal is an answer."""
    if verdict.failure is not None:
        span.set("callboard.failure.class", verdict.failure.value)
    if verdict.error is not None and verdict.failure is not FailureClass.REFUSAL:
        span.fail(type(verdict.error).__name__, str(verdict.error))


async def answer(action: Action | None, message: BrokerMessage, span: Span = NO_SPAN) -> BrokerResponse:
    """What a handler answers to a message that came by no mailbox: its response, or the error reply that its failure
    policy leads to, without retries. Raises for nothing that the handler does.

    To be run in a task of its own: what the handler sets in context variables stays there.
    """
    try:
        return await respond(found(action, message.topic), message, CURRENT.get(), OPEN_STAGE, wanted=True)
    except BaseException as error:  # whatever a handler raises is judged
        if ends_task(error):
            raise
        verdict = judge(action, error)
        tell(span, verdict)
        report(
            f"message {message.identifier} to {message.topic!r}", verdict, 1, "not repeated", _fields(action, message)
        )
        response = verdict.reply or error_response(error)
        return BrokerResponse(response.content, status=response.status, headers=wire.travelling(message.headers))


def _fields(action: Action | None, message: BrokerMessage) -> dict[str, str | int]:
    """Of a message that came by no mailbox."""
    actor = "" if action is None else action.endpoint.actor
    return {"actor": actor, "topic": message.topic, "identifier": str(message.identifier), "attempt": 1}
