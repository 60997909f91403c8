"""One tree of errors.

Each class builds its text from its arguments (what failed, the value, the rule, the way out) and keeps the
arguments as attributes. A standard class stands as second base where callers expect one.
"""

from __future__ import annotations

from callboard.errors.asking import (
    NotEnoughMessagesError,
    PoolExhaustedError,
    RemoteError,
    ReplyContentError,
    RequestTimeoutError,
)
from callboard.errors.base import (
    CallboardError,
    ClosedError,
    InvalidArgumentError,
    MissingExtraError,
    did_you_mean,
)
from callboard.errors.declaration import (
    ConfigError,
    DeclarationError,
    MixedDecoratorKindsError,
    NotProvidedError,
    RedefinedActionError,
    TargetError,
)
from callboard.errors.handling import (
    ActionNotFoundError,
    ActorCrash,
    AttemptsExhaustedError,
    BrokerResponseException,
    DeadlineExceededError,
    DeliveriesExhaustedError,
    HandlerTimeoutError,
    NoDeadLetterError,
    ReplayRefusedError,
    RestartLimitExceeded,
    WorkerDiedError,
)
from callboard.errors.message import (
    ContentDecodeError,
    ContentEncodeError,
    HeaderError,
    MessageTooLargeError,
    MessageTypeError,
    NoParamsError,
    ReplyTopicError,
    TopicError,
)
from callboard.errors.substrate import (
    AccessDeniedError,
    ConnectionLostError,
    DatabaseUnavailableError,
    NoHandlerError,
    NoServerError,
    NoStreamError,
    PermissionDeniedError,
    PublishRefusedError,
    PublishUnknownError,
    SchemaVersionError,
    StreamLostError,
    SubstrateError,
    TopologyError,
)

__all__ = [
    "AccessDeniedError",
    "ActionNotFoundError",
    "ActorCrash",
    "AttemptsExhaustedError",
    "BrokerResponseException",
    "CallboardError",
    "ClosedError",
    "ConfigError",
    "ConnectionLostError",
    "ContentDecodeError",
    "ContentEncodeError",
    "DatabaseUnavailableError",
    "DeadlineExceededError",
    "DeclarationError",
    "DeliveriesExhaustedError",
    "HandlerTimeoutError",
    "HeaderError",
    "InvalidArgumentError",
    "MessageTooLargeError",
    "MessageTypeError",
    "MissingExtraError",
    "MixedDecoratorKindsError",
    "NoDeadLetterError",
    "NoHandlerError",
    "NoParamsError",
    "NoServerError",
    "NoStreamError",
    "NotEnoughMessagesError",
    "NotProvidedError",
    "PermissionDeniedError",
    "PoolExhaustedError",
    "PublishRefusedError",
    "PublishUnknownError",
    "RedefinedActionError",
    "RemoteError",
    "ReplayRefusedError",
    "ReplyContentError",
    "ReplyTopicError",
    "RequestTimeoutError",
    "RestartLimitExceeded",
    "SchemaVersionError",
    "StreamLostError",
    "SubstrateError",
    "TargetError",
    "TopicError",
    "TopologyError",
    "WorkerDiedError",
    "did_you_mean",
]
