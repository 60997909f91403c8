"""Topic handlers as supervised actors on NATS JetStream.

Names are loaded when they are first used, so that `import callboard` is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callboard.actors import Actor
    from callboard.backoff import Backoff
    from callboard.brokers.builder import BrokerPublisherBuilder, BrokerSubscriberBuilder
    from callboard.brokers.duplicate import (
        BrokerSubscriberDuplicateValidator,
        InMemoryBrokerSubscriberDuplicateValidator,
    )
    from callboard.brokers.filtered import FilteredBrokerSubscriber
    from callboard.brokers.memory import InMemoryBroker, InMemoryBrokerPublisher, InMemoryBrokerSubscriber
    from callboard.brokers.part import BrokerSubscriberQueueBuilder, Builder
    from callboard.brokers.publisher import BrokerPublisher
    from callboard.brokers.queue.memory import InMemoryBrokerQueue
    from callboard.brokers.queue.publisher import (
        BrokerPublisherQueue,
        InMemoryBrokerPublisherQueue,
        QueuedBrokerPublisher,
    )
    from callboard.brokers.queue.queue import BrokerQueue
    from callboard.brokers.queue.subscriber import (
        BrokerSubscriberQueue,
        InMemoryBrokerSubscriberQueue,
        QueuedBrokerSubscriber,
    )
    from callboard.brokers.subscriber import BrokerSubscriber
    from callboard.brokers.transport import Receipt
    from callboard.brokers.validator import BrokerSubscriberValidator
    from callboard.client import Board, BrokerClient, BrokerClientPool
    from callboard.clock import VirtualClock
    from callboard.codec import JSON, MSGPACK, register_codec
    from callboard.config import Config
    from callboard.context import REQUEST_HEADERS_CONTEXT_VAR, REQUEST_REPLY_TOPIC_CONTEXT_VAR, REQUEST_USER_CONTEXT_VAR
    from callboard.database import (
        DatabaseBrokerPublisherQueue,
        DatabaseBrokerQueue,
        DatabaseBrokerSubscriberDuplicateValidator,
        DatabaseBrokerSubscriberQueue,
    )
    from callboard.errors import (
        ActionNotFoundError,
        ActorCrash,
        BrokerResponseException,
        CallboardError,
        ClosedError,
        ConfigError,
        ContentDecodeError,
        DeclarationError,
        MixedDecoratorKindsError,
        NoHandlerError,
        NoParamsError,
        NoStreamError,
        NotEnoughMessagesError,
        NotProvidedError,
        PoolExhaustedError,
        PublishRefusedError,
        PublishUnknownError,
        RedefinedActionError,
        RemoteError,
        RequestTimeoutError,
        RestartLimitExceeded,
        SubstrateError,
    )
    from callboard.jetstream import ConnectionOptions, JetStreamBrokerPublisher, JetStreamBrokerSubscriber
    from callboard.message import (
        BrokerMessage,
        BrokerMessageV1,
        BrokerMessageV1Payload,
        BrokerMessageV1Status,
        BrokerMessageV1Strategy,
    )
    from callboard.routing.decorator import command, enroute, event, query
    from callboard.routing.dispatcher import BrokerDispatcher
    from callboard.routing.factory import EnrouteFactory
    from callboard.routing.handler import BrokerHandler
    from callboard.routing.port import BrokerHandlerService, BrokerPort
    from callboard.routing.request import BrokerRequest, BrokerResponse
    from callboard.supervision import ChildSpec, RestartIntensity, Supervisor
    from callboard.system import System, connect

_HOMES = {
    "callboard.actors": ("Actor",),
    "callboard.backoff": ("Backoff",),
    "callboard.brokers.builder": ("BrokerPublisherBuilder", "BrokerSubscriberBuilder"),
    "callboard.brokers.duplicate": ("BrokerSubscriberDuplicateValidator", "InMemoryBrokerSubscriberDuplicateValidator"),
    "callboard.brokers.filtered": ("FilteredBrokerSubscriber",),
    "callboard.brokers.memory": ("InMemoryBroker", "InMemoryBrokerPublisher", "InMemoryBrokerSubscriber"),
    "callboard.brokers.part": ("BrokerSubscriberQueueBuilder", "Builder"),
    "callboard.brokers.publisher": ("BrokerPublisher",),
    "callboard.brokers.queue.memory": ("InMemoryBrokerQueue",),
    "callboard.brokers.queue.publisher": (
        "BrokerPublisherQueue",
        "InMemoryBrokerPublisherQueue",
        "QueuedBrokerPublisher",
    ),
    "callboard.brokers.queue.queue": ("BrokerQueue",),
    "callboard.brokers.queue.subscriber": (
        "BrokerSubscriberQueue",
        "InMemoryBrokerSubscriberQueue",
        "QueuedBrokerSubscriber",
    ),
    "callboard.brokers.subscriber": ("BrokerSubscriber",),
    "callboard.brokers.transport": ("Receipt",),
    "callboard.brokers.validator": ("BrokerSubscriberValidator",),
    "callboard.client": ("Board", "BrokerClient", "BrokerClientPool"),
    "callboard.clock": ("VirtualClock",),
    "callboard.codec": ("JSON", "MSGPACK", "register_codec"),
    "callboard.config": ("Config",),
    "callboard.context": ("REQUEST_HEADERS_CONTEXT_VAR", "REQUEST_REPLY_TOPIC_CONTEXT_VAR", "REQUEST_USER_CONTEXT_VAR"),
    "callboard.database": (
        "DatabaseBrokerPublisherQueue",
        "DatabaseBrokerQueue",
        "DatabaseBrokerSubscriberDuplicateValidator",
        "DatabaseBrokerSubscriberQueue",
    ),
    "callboard.errors": (
        "ActionNotFoundError",
        "ActorCrash",
        "BrokerResponseException",
        "CallboardError",
        "ClosedError",
        "ConfigError",
        "ContentDecodeError",
        "DeclarationError",
        "MixedDecoratorKindsError",
        "NoHandlerError",
        "NoParamsError",
        "NoStreamError",
        "NotEnoughMessagesError",
        "NotProvidedError",
        "PoolExhaustedError",
        "PublishRefusedError",
        "PublishUnknownError",
        "RedefinedActionError",
        "RemoteError",
        "RequestTimeoutError",
        "RestartLimitExceeded",
        "SubstrateError",
    ),
    "callboard.jetstream": ("ConnectionOptions", "JetStreamBrokerPublisher", "JetStreamBrokerSubscriber"),
    "callboard.message": (
        "BrokerMessage",
        "BrokerMessageV1",
        "BrokerMessageV1Payload",
        "BrokerMessageV1Status",
        "BrokerMessageV1Strategy",
    ),
    "callboard.routing.decorator": ("command", "enroute", "event", "query"),
    "callboard.routing.dispatcher": ("BrokerDispatcher",),
    "callboard.routing.factory": ("EnrouteFactory",),
    "callboard.routing.handler": ("BrokerHandler",),
    "callboard.routing.port": ("BrokerHandlerService", "BrokerPort"),
    "callboard.routing.request": ("BrokerRequest", "BrokerResponse"),
    "callboard.supervision": ("ChildSpec", "RestartIntensity", "Supervisor"),
    "callboard.system": ("System", "connect"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "JSON",
    "MSGPACK",
    "REQUEST_HEADERS_CONTEXT_VAR",
    "REQUEST_REPLY_TOPIC_CONTEXT_VAR",
    "REQUEST_USER_CONTEXT_VAR",
    "ActionNotFoundError",
    "Actor",
    "ActorCrash",
    "Backoff",
    "Board",
    "BrokerClient",
    "BrokerClientPool",
    "BrokerDispatcher",
    "BrokerHandler",
    "BrokerHandlerService",
    "BrokerMessage",
    "BrokerMessageV1",
    "BrokerMessageV1Payload",
    "BrokerMessageV1Status",
    "BrokerMessageV1Strategy",
    "BrokerPort",
    "BrokerPublisher",
    "BrokerPublisherBuilder",
    "BrokerPublisherQueue",
    "BrokerQueue",
    "BrokerRequest",
    "BrokerResponse",
    "BrokerResponseException",
    "BrokerSubscriber",
    "BrokerSubscriberBuilder",
    "BrokerSubscriberDuplicateValidator",
    "BrokerSubscriberQueue",
    "BrokerSubscriberQueueBuilder",
    "BrokerSubscriberValidator",
    "Builder",
    "CallboardError",
    "ChildSpec",
    "ClosedError",
    "Config",
    "ConfigError",
    "ConnectionOptions",
    "ContentDecodeError",
    "DatabaseBrokerPublisherQueue",
    "DatabaseBrokerQueue",
    "DatabaseBrokerSubscriberDuplicateValidator",
    "DatabaseBrokerSubscriberQueue",
    "DeclarationError",
    "EnrouteFactory",
    "FilteredBrokerSubscriber",
    "InMemoryBroker",
    "InMemoryBrokerPublisher",
    "InMemoryBrokerPublisherQueue",
    "InMemoryBrokerQueue",
    "InMemoryBrokerSubscriber",
    "InMemoryBrokerSubscriberDuplicateValidator",
    "InMemoryBrokerSubscriberQueue",
    "JetStreamBrokerPublisher",
    "JetStreamBrokerSubscriber",
    "MixedDecoratorKindsError",
    "NoHandlerError",
    "NoParamsError",
    "NoStreamError",
    "NotEnoughMessagesError",
    "NotProvidedError",
    "PoolExhaustedError",
    "PublishRefusedError",
    "PublishUnknownError",
    "QueuedBrokerPublisher",
    "QueuedBrokerSubscriber",
    "Receipt",
    "RedefinedActionError",
    "RemoteError",
    "RequestTimeoutError",
    "RestartIntensity",
    "RestartLimitExceeded",
    "SubstrateError",
    "Supervisor",
    "System",
    "VirtualClock",
    "command",
    "connect",
    "enroute",
    "event",
    "query",
    "register_codec",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'callboard' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
