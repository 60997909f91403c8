"""The one place where an exception becomes a settlement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, StrEnum
from math import inf
from random import random as _random
from typing import Any

from attrs import frozen

from callboard.backoff import jittered
from callboard.brokers.wire import Frame
from callboard.errors import (
    ActionNotFoundError,
    ActorCrash,
    AttemptsExhaustedError,
    BrokerResponseException,
    ContentDecodeError,
    ContentEncodeError,
    DeadlineExceededError,
    DeclarationError,
    HeaderError,
    MessageTooLargeError,
    SubstrateError,
    WorkerDiedError,
)
from callboard.routing.option import DEFAULT_RETRY, FailureAction, HandlerOptions
from callboard.routing.request import BrokerResponse

__all__ = ["SUBSTRATE_PAUSE", "FailureClass", "FailurePolicy", "Outage", "Settlement", "Verdict", "error_response"]

SUBSTRATE_PAUSE = 2.0
"""Seconds until a message whose handler met an unavailable server is tried again; it costs no attempt."""


class FailureClass(StrEnum):
    """Whose fault a failure is; decides who pays for it."""

    REFUSAL = "refusal"
    MESSAGE = "message"
    ACTOR = "actor"
    SUBSTRATE = "substrate"


class Settlement(StrEnum):
    """How a delivery ends."""

    ACK = "ack"
    RETRY = "retry"
    """nak with a delay, after the attempt is recorded."""
    HAND_BACK = "hand back"
    """nak of what costs no attempt."""
    DEAD_LETTER = "dead letter"
    DISCARD = "discard"


class Outage(Enum):
    """Whether what a handler needs may be away."""

    NO = "no"
    """The message did not fail, or would fail anywhere."""
    MAYBE = "maybe"
    """When many messages fail like this, it is not the messages."""
    YES = "yes"


@frozen
class Verdict:
    """What happens to a delivery, and what its caller is told."""

    settlement: Settlement
    delay: float = 0.0
    reply: BrokerResponse | None = None
    frame: Frame | None = None
    """The reply, encoded already when it was checked."""
    error: BaseException | None = None
    failure: FailureClass | None = None
    outage: Outage = Outage.NO


_NEVER_BETTER = (
    AttemptsExhaustedError,
    ContentDecodeError,
    ContentEncodeError,
    DeclarationError,
    HeaderError,
    MessageTooLargeError,
    WorkerDiedError,
)
"""Failures that the same message meets again at every attempt."""


@frozen
class FailurePolicy:
    """Decides by exception type, the nearest class first."""

    delays: tuple[float, ...] = DEFAULT_RETRY
    rules: Mapping[type[BaseException], FailureAction] = {}

    @classmethod
    def of(cls, options: HandlerOptions) -> FailurePolicy:
        """The policy that a handler declared."""
        return cls(DEFAULT_RETRY if options.retry is None else options.retry, options.failures or {})

    def judge(
        self,
        error: BaseException,
        *,
        attempt: int,
        remaining: float = inf,
        drop_expired: bool = False,
        random: Callable[[], float] = _random,
    ) -> Verdict:
        """The verdict on a failed attempt (1 is the first).

        `remaining` are the seconds to the caller's deadline: a retry that would come after it is not made.
        `drop_expired` says that a message past its deadline needs no dead letter (a query).
        """
        match error:
            case ActorCrash():
                return Verdict(Settlement.HAND_BACK, error=error, failure=FailureClass.ACTOR)
            case SubstrateError():
                return Verdict(Settlement.HAND_BACK, SUBSTRATE_PAUSE, error=error, failure=FailureClass.SUBSTRATE)
            case DeadlineExceededError():
                return self._final(Settlement.ACK if drop_expired else Settlement.DEAD_LETTER, error)
            case _:
                return self._judge_message(error, attempt, remaining, random)

    def _judge_message(
        self, error: BaseException, attempt: int, remaining: float, random: Callable[[], float]
    ) -> Verdict:
        action, declared = self._action(error)
        if action is None:
            return Verdict(Settlement.ACK, reply=error_response(error), error=error, failure=FailureClass.REFUSAL)
        if action is FailureAction.DISCARD:
            return self._final(Settlement.DISCARD, error)
        if action is FailureAction.REJECT:
            return self._final(Settlement.DEAD_LETTER, error)
        if action is FailureAction.PAUSE:
            return self._final(Settlement.DEAD_LETTER, error, Outage.YES)
        outage = Outage.NO if declared else Outage.MAYBE
        if attempt <= len(self.delays):
            delay = jittered(self.delays[attempt - 1], random)
            if delay < remaining:
                failure = FailureClass.MESSAGE
                return Verdict(Settlement.RETRY, delay, error=error, failure=failure, outage=outage)
        return self._final(Settlement.DEAD_LETTER, error, outage)

    @staticmethod
    def _final(settlement: Settlement, error: BaseException, outage: Outage = Outage.NO) -> Verdict:
        reply = error_response(error)
        return Verdict(settlement, reply=reply, error=error, failure=FailureClass.MESSAGE, outage=outage)

    def _action(self, error: BaseException) -> tuple[FailureAction | None, bool]:
        """What the nearest class of an error leads to, and whether a rule declares it; None is a refusal."""
        for kind in type(error).__mro__:
            if kind in self.rules:
                return self.rules[kind], True
            if kind is BrokerResponseException:
                return None, False
            if kind in _NEVER_BETTER:
                return FailureAction.REJECT, False
        return FailureAction.RETRY, False


def error_response(error: BaseException) -> BrokerResponse:
    """The reply that an error leads to: type, a text that gives nothing internal away, and whether to try again."""
    status, text, retryable = _public(error)
    body: dict[str, Any] = {"type": type(error).__name__, "message": text, "retryable": retryable}
    return BrokerResponse({"error": body}, status=status)


_INTERNAL = "the handler failed; its service has the details in its log and its dead letters"
_PUBLIC: tuple[tuple[type[BaseException], str], ...] = (
    (ContentEncodeError, "the handler's result cannot be serialised"),
    (MessageTooLargeError, "what the handler sends is too large for one message"),
)
"""Failures of the service whose reason gives nothing internal away."""


def _public(error: BaseException) -> tuple[int, str, bool]:
    if isinstance(error, BrokerResponseException):
        return error.status, error.message, error.status >= 500
    if isinstance(error, ContentDecodeError):
        return 400, str(error), False
    if isinstance(error, ActionNotFoundError):
        return 404, str(error), False
    if isinstance(error, DeadlineExceededError):
        return 504, "the deadline passed before the request was handled", True
    return 500, next((text for kind, text in _PUBLIC if isinstance(error, kind)), _INTERNAL), False
