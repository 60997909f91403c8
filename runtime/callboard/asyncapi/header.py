"""Schemas of the headers that the wire format defines. Header values are texts, whatever they say."""

from __future__ import annotations

from callboard.asyncapi.schema import Schema
from callboard.brokers import wire

__all__ = ["ERROR_CONTENT", "error_headers", "message_headers", "reply_headers"]

ERROR_CONTENT: Schema = {
    "description": "Why there is no result.",
    "type": "object",
    "properties": {
        "error": {
            "title": "CallboardErrorDetails",
            "type": "object",
            "properties": {
                "type": {"type": "string", "description": "Name of the error's class."},
                "message": {"type": "string", "description": "For people; gives nothing internal away."},
                "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
            },
            "required": ["type", "message", "retryable"],
        }
    },
    "required": ["error"],
}
"""What every error reply has as its content."""

_NUMBER = "^[0-9]+$"
_SUCCESS = "^2[0-9]{2}$"
_NO_SUCCESS = "^(?!2[0-9]{2}$)-?[0-9]+$"


def message_headers() -> Schema:
    """Headers of what is handled or published; a plain body without any is a complete message."""
    return _headers(
        "Headers of a message. None is required, and all others are the message's own.",
        {
            **_common(),
            wire.MESSAGE_ID: _text("A message of the same id is stored once within the stream's duplicate window."),
            wire.REPLY_TOPIC: _text(
                "Where the reply goes: an inbox, or a topic that a stream holds. Absent: no reply."
            ),
            wire.REPLY_VIA: _text("How whoever waits for the reply listens.", enum=["core", "stream"]),
            wire.DEADLINE: _text("Until when the reply is waited for; a later one is not made.", format="date-time"),
            wire.STRATEGY: _text("Carried and readable; `unicast` unless said.", enum=["unicast", "multicast"]),
            wire.HOPS: _text("How many handlers in a row led to this message.", pattern=_NUMBER),
            wire.TARGET: _text("The one durable that a replayed dead letter is for."),
        },
    )


def reply_headers() -> Schema:
    """Headers of a result."""
    status = _text("From 200 to 299; 200 unless said.", pattern=_SUCCESS)
    return _headers(f"Headers of a reply. {_OTHERS}", {**_common(), **_answer(), wire.STATUS: status})


def error_headers() -> Schema:
    """Headers of a reply that is no result."""
    status = _text("4xx: refused, 5xx: failed.", pattern=_NO_SUCCESS)
    schema = _headers(f"Headers of an error reply. {_OTHERS}", {**_common(), **_answer(), wire.STATUS: status})
    return schema | {"required": [wire.STATUS]}


_OTHERS = "All others are the request's own, or those that the handler set."


def _common() -> dict[str, Schema]:
    return {
        wire.CONTENT_TYPE: _text(
            "How the body is encoded; `application/json` unless said.",
            examples=["application/json", "application/msgpack"],
        ),
        wire.IDENTIFIER: _text("What makes the message itself, in every copy of it.", format="uuid"),
        wire.VERSION: _text("Number of the message format.", pattern=_NUMBER, examples=[str(wire.KNOWN_VERSION)]),
        "traceparent": _text("W3C trace context."),
        "tracestate": _text("W3C trace context."),
        "baggage": _text("W3C baggage."),
    }


def _answer() -> dict[str, Schema]:
    return {
        wire.IDENTIFIER: _text("The request's.", format="uuid"),
        wire.MESSAGE_ID: _text("A repeated reply has the same one."),
    }


def _headers(description: str, properties: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": {"type": "string"},
    }


def _text(description: str, **more: object) -> Schema:
    return {"type": "string", "description": description, **more}
