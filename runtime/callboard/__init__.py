"""Topic handlers as supervised actors on NATS JetStream.

Names are loaded when they are first used, so that `import callboard` is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callboard.actors import Actor
    from callboard.brokers.publisher import BrokerPublisher
    from callboard.brokers.subscriber import BrokerSubscriber
    from callboard.brokers.transport import Receipt
    from callboard.client import Board
    from callboard.codec import JSON, MSGPACK, register_codec
    from callboard.context import (
        REQUEST_HEADERS_CONTEXT_VAR,
        REQUEST_REPLY_TOPIC_CONTEXT_VAR,
        REQUEST_USER_CONTEXT_VAR,
    )
    from callboard.errors import (
        ActorCrash,
        BrokerResponseException,
        CallboardError,
        RemoteError,
        RequestTimeoutError,
    )
    from callboard.message import (
        BrokerMessage,
        BrokerMessageV1,
        BrokerMessageV1Payload,
        BrokerMessageV1Status,
        BrokerMessageV1Strategy,
    )
    from callboard.routing.decorator import command, enroute, event, query
    from callboard.routing.request import BrokerRequest, BrokerResponse
    from callboard.supervision import ChildSpec, RestartIntensity, Supervisor
    from callboard.system import System, connect

_HOMES = {
    "callboard.actors": ("Actor",),
    "callboard.brokers.publisher": ("BrokerPublisher",),
    "callboard.brokers.subscriber": ("BrokerSubscriber",),
    "callboard.brokers.transport": ("Receipt",),
    "callboard.client": ("Board",),
    "callboard.codec": ("JSON", "MSGPACK", "register_codec"),
    "callboard.context": (
        "REQUEST_HEADERS_CONTEXT_VAR",
        "REQUEST_REPLY_TOPIC_CONTEXT_VAR",
        "REQUEST_USER_CONTEXT_VAR",
    ),
    "callboard.errors": (
        "ActorCrash",
        "BrokerResponseException",
        "CallboardError",
        "RemoteError",
        "RequestTimeoutError",
    ),
    "callboard.message": (
        "BrokerMessage",
        "BrokerMessageV1",
        "BrokerMessageV1Payload",
        "BrokerMessageV1Status",
        "BrokerMessageV1Strategy",
    ),
    "callboard.routing.decorator": ("command", "enroute", "event", "query"),
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
    "Actor",
    "ActorCrash",
    "Board",
    "BrokerMessage",
    "BrokerMessageV1",
    "BrokerMessageV1Payload",
    "BrokerMessageV1Status",
    "BrokerMessageV1Strategy",
    "BrokerPublisher",
    "BrokerRequest",
    "BrokerResponse",
    "BrokerResponseException",
    "BrokerSubscriber",
    "CallboardError",
    "ChildSpec",
    "Receipt",
    "RemoteError",
    "RequestTimeoutError",
    "RestartIntensity",
    "Supervisor",
    "System",
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
