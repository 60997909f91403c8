"""What callers hear."""

from __future__ import annotations

from collections.abc import Sequence

from callboard.errors.base import CallboardError

__all__ = [
    "NotEnoughMessagesError",
    "PoolExhaustedError",
    "RemoteError",
    "ReplyContentError",
    "RequestTimeoutError",
]


class RemoteError(CallboardError):
    """The handler of a request answered with an error.

    `status` is 4xx for a refusal and 5xx for a failure, `type` the remote exception's class name, `retryable`
    whether the same request may succeed later, `content` the whole content of the reply.
    """

    def __init__(
        self,
        topic: str,
        *,
        status: int,
        type: str = "",  # noqa: A002 - the wire's word
        message: str = "",
        retryable: bool = False,
        content: object = None,
    ) -> None:
        self.topic = topic
        self.content = content
        self.status = status
        self.type = type
        self.message = message
        self.retryable = retryable
        super().__init__(f"{topic!r} answered {status}{f' {type}' if type else ''}: {message}")


class RequestTimeoutError(CallboardError, TimeoutError):
    """No reply came in time. The request is stored and may have been handled, or may never be: unknown."""

    def __init__(self, topic: str, seconds: float) -> None:
        self.topic = topic
        self.seconds = seconds
        super().__init__(f"no reply from {topic!r} within {seconds:g} s; the outcome is unknown")


class NotEnoughMessagesError(CallboardError, TimeoutError):
    """Fewer messages arrived in time than were asked for. Those that did are in `messages`, in order."""

    def __init__(self, topic: str, count: int, messages: Sequence[object], seconds: float) -> None:
        self.topic = topic
        self.count = count
        self.messages = list(messages)
        self.seconds = seconds
        super().__init__(f"{len(self.messages)} of {count} messages arrived on {topic!r} within {seconds:g} s")


class PoolExhaustedError(CallboardError, TimeoutError):
    """All clients of a pool were borrowed, and none came back in time."""

    def __init__(self, maxsize: int, seconds: float) -> None:
        self.maxsize = maxsize
        self.seconds = seconds
        super().__init__(
            f"all {maxsize} clients of the pool are borrowed and none came back within {seconds:g} s; "
            "release them sooner, or give the pool a larger maxsize"
        )


class ReplyContentError(CallboardError, ValueError):
    """A reply arrived, but its content does not fit the type that the caller expects."""

    def __init__(self, topic: str, problem: str) -> None:
        self.topic = topic
        self.problem = problem
        super().__init__(f"the reply from {topic!r} is not what 'returns' says: {problem}")
