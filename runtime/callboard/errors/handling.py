"""What becomes of a message, its handler and its actor."""

from __future__ import annotations

from collections.abc import Iterable

from callboard.errors.base import CallboardError, did_you_mean

__all__ = [
    "ActionNotFoundError",
    "ActorCrash",
    "AttemptsExhaustedError",
    "BrokerResponseException",
    "DeadlineExceededError",
    "DeliveriesExhaustedError",
    "HandlerTimeoutError",
    "NoDeadLetterError",
    "ReplayRefusedError",
    "RestartLimitExceeded",
    "WorkerDiedError",
]


class ActionNotFoundError(CallboardError, LookupError):
    """No handler listens on a topic."""

    def __init__(self, topic: str, known: Iterable[str] = ()) -> None:
        self.topic = topic
        super().__init__(f"no handler for topic {topic!r}{did_you_mean(topic, known)}")


class BrokerResponseException(CallboardError):
    """A handler's refusal: the caller gets an error reply with this text and status, and the message is done.

    It is an answer, not a failure: the message is acknowledged, never retried, never dead-lettered.
    """

    def __init__(self, message: str = "", *, status: int = 400) -> None:
        self.message = message
        self.status = status
        super().__init__(message)


class ActorCrash(CallboardError):
    """Raised by a handler whose instance can no longer be trusted: the supervisor restarts the actor.

    The message that was being handled goes back to its mailbox without using up an attempt.
    """


class HandlerTimeoutError(CallboardError, TimeoutError):
    """A handler ran longer than its `timeout` and was cancelled."""

    def __init__(self, handler: str, seconds: float) -> None:
        self.handler = handler
        self.seconds = seconds
        super().__init__(f"{handler} did not finish within {seconds:g} s")


class WorkerDiedError(CallboardError):
    """The worker process died twice while it ran this message, the second time while it ran nothing else."""

    label = "worker_died"
    """The error type on its dead letter."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        super().__init__(f"{deaths} worker processes died while they ran this message, the last one ran nothing else")


class DeliveriesExhaustedError(CallboardError):
    """The server delivers a message no more, because an operator limited its durable's deliveries."""

    label = "MaxDeliveries"
    """The error type on its dead letter."""

    def __init__(self, deliveries: int) -> None:
        self.deliveries = deliveries
        super().__init__(f"the server delivers it no more after {deliveries} deliveries, the durable's limit")


class AttemptsExhaustedError(CallboardError):
    """A message comes again though all its attempts have failed: the last one outlived its lease, so it could not be
    given up then."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts
        super().__init__(f"{attempts} attempts have failed, the handler allows no more; the log has their reasons")


class DeadlineExceededError(CallboardError, TimeoutError):
    """A request was picked up after its caller had stopped waiting."""

    def __init__(self, topic: str, deadline: str) -> None:
        self.topic = topic
        self.deadline = deadline
        super().__init__(f"the deadline of this request to {topic!r} passed at {deadline}")


class RestartLimitExceeded(CallboardError):
    """A supervisor's children crashed more often than its restart intensity allows."""

    def __init__(self, supervisor: str, restarts: int, period: float) -> None:
        self.supervisor = supervisor
        self.restarts = restarts
        self.period = period
        super().__init__(f"{supervisor}: more than {restarts} restarts within {period:g} s")


class NoDeadLetterError(CallboardError, LookupError):
    """There is no dead letter with this sequence, or not any more: it was replayed or discarded."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        super().__init__(f"there is no dead letter {sequence} (any more); 'callboard dead list' shows what there is")


class ReplayRefusedError(CallboardError):
    """A dead letter cannot be replayed: nothing was published, and the letter stays."""

    def __init__(self, sequence: int, reason: str) -> None:
        self.sequence = sequence
        self.reason = reason
        super().__init__(f"dead letter {sequence} cannot be replayed: {reason}")
