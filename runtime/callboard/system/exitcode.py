"""Exit codes of the command line."""

from __future__ import annotations

from enum import IntEnum

from callboard.errors import (
    AccessDeniedError,
    CallboardError,
    ConfigError,
    ContentEncodeError,
    DeclarationError,
    HeaderError,
    MessageTooLargeError,
    MissingExtraError,
    NoServerError,
    PublishRefusedError,
    RemoteError,
    RestartLimitExceeded,
    SubstrateError,
    TargetError,
    TopicError,
    TopologyError,
)

__all__ = ["ExitCode", "exit_code_of"]


class ExitCode(IntEnum):
    """What a command ended with.

    `callboard run` ends with a code other than `DONE` and `ACTOR_FAILED` only before a first worker was ready, because
    trying again would not help then, and with `NO_SERVER` when its embedded server ended. A worker that dies later is
    replaced, however often.
    """

    DONE = 0
    ERROR_REPLY = 1
    """The handler refused or failed. Of `run`: a worker failed before it was ready, in a way that has no code."""
    WRONG_USE = 2
    """A target, topic, header, setting or body that cannot be used; nothing was sent or started."""
    NO_SERVER = 3
    TIMEOUT = 4
    """The outcome is unknown."""
    REFUSED = 5
    """By the server: credentials, permission, a full stream, no stream, a stream that contradicts the code."""
    ACTOR_FAILED = 70
    """An essential actor could not be kept running."""


_CODES: list[tuple[type[Exception], ExitCode]] = [
    (RemoteError, ExitCode.ERROR_REPLY),
    (AccessDeniedError, ExitCode.REFUSED),
    (NoServerError, ExitCode.NO_SERVER),
    (PublishRefusedError, ExitCode.REFUSED),
    (TopologyError, ExitCode.REFUSED),
    (RestartLimitExceeded, ExitCode.ACTOR_FAILED),
    (TargetError, ExitCode.WRONG_USE),
    (DeclarationError, ExitCode.WRONG_USE),
    (ConfigError, ExitCode.WRONG_USE),
    (TopicError, ExitCode.WRONG_USE),
    (HeaderError, ExitCode.WRONG_USE),
    (ContentEncodeError, ExitCode.WRONG_USE),
    (MessageTooLargeError, ExitCode.WRONG_USE),
    (MissingExtraError, ExitCode.WRONG_USE),
    (TimeoutError, ExitCode.TIMEOUT),
    (SubstrateError, ExitCode.NO_SERVER),
    (CallboardError, ExitCode.REFUSED),
]


def exit_code_of(error: BaseException) -> ExitCode | None:
    """The exit code that stands for an error; None for one that is nobody's business but a programmer's."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return None
