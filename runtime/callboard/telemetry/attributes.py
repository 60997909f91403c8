"""Names of span attributes and their fixed values.

Source: OpenTelemetry semantic conventions 1.44.0. The messaging part is still in development, so the names
stand here and not in an import whose next version may rename them.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACTOR",
    "ACTOR_STATE",
    "BODY_SIZE",
    "CONSUMER_GROUP",
    "CONVERSATION_ID",
    "DELIVERY_COUNT",
    "DESTINATION",
    "ERROR_TYPE",
    "FUNCTION",
    "MESSAGE_ID",
    "OPERATION",
    "OPERATION_TYPE",
    "QUEUE",
    "SCHEMA_URL",
    "SERVER_ADDRESS",
    "SERVER_PORT",
    "STREAM",
    "STREAM_SEQUENCE",
    "SYSTEM",
    "SYSTEM_NATS",
    "TEMPLATE",
    "TYPE_CREATE",
    "TYPE_PROCESS",
    "TYPE_SEND",
]

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

SYSTEM: Final = "messaging.system"
SYSTEM_NATS: Final = "nats"
"""Not in the conventions' list, but what every NATS client sends."""

OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
TYPE_CREATE: Final = "create"
TYPE_SEND: Final = "send"
TYPE_PROCESS: Final = "process"

DESTINATION: Final = "messaging.destination.name"
TEMPLATE: Final = "messaging.destination.template"
CONSUMER_GROUP: Final = "messaging.consumer.group.name"
MESSAGE_ID: Final = "messaging.message.id"
CONVERSATION_ID: Final = "messaging.message.conversation_id"
BODY_SIZE: Final = "messaging.message.body.size"
STREAM: Final = "messaging.nats.stream.name"
STREAM_SEQUENCE: Final = "messaging.nats.message.stream_sequence"
DELIVERY_COUNT: Final = "messaging.nats.message.delivery_count"

SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
FUNCTION: Final = "code.function.name"
ERROR_TYPE: Final = "error.type"
ACTOR: Final = "callboard.actor"
ACTOR_STATE: Final = "callboard.actor.state"
QUEUE: Final = "callboard.queue"
