"""Messages: content with its headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from callboard.asyncapi.docstring import doc_of, split
from callboard.asyncapi.header import ERROR_CONTENT, error_headers, message_headers, reply_headers
from callboard.asyncapi.name import Names
from callboard.asyncapi.schema import Schema, Schemas
from callboard.brokers import wire
from callboard.codec.shape import bare, class_of

__all__ = ["Messages"]


@frozen
class _Role:
    """What a message is for."""

    suffix: str
    """Of a message that is named after its channel."""
    class_suffix: str
    """Of a message that is named after its class."""
    headers: str
    describe: Callable[[], Schema]


_MESSAGE = _Role("message", "", "CallboardHeaders", message_headers)
_REPLY = _Role("reply", "Reply", "CallboardReplyHeaders", reply_headers)


class Messages:
    """The messages of a document. Content of one class is one message, wherever it goes; other content belongs to its
    channel."""

    def __init__(self) -> None:
        self.schemas = Schemas()
        self._names = Names()
        self._known: dict[Any, str] = {}
        self._objects: dict[str, dict[str, Any]] = {}
        self._headers: dict[str, Schema] = {}
        self._error = ""

    def of(self, type_: Any, channel: str) -> str:
        """The name of the message with content of a type on a channel."""
        return self._message(type_, channel, _MESSAGE)

    def reply(self, type_: Any, channel: str) -> str:
        """The name of the reply with a result of a type to what came on a channel."""
        return self._message(type_, channel, _REPLY)

    @property
    def error(self) -> str:
        """The name of the reply that is no result."""
        if not self._error:
            self._error = self._names.unique("CallboardError")
            self._objects[self._error] = {
                "title": "Error",
                "summary": "The request was refused, or failed.",
                "headers": self._headers_of("CallboardErrorHeaders", error_headers),
                "payload": self.schemas.add("CallboardError", ERROR_CONTENT),
                "correlationId": _CORRELATION,
            }
        return self._error

    def as_object(self) -> dict[str, Any]:
        """The messages of AsyncAPI, by name."""
        return dict(sorted(self._objects.items()))

    def _message(self, type_: Any, channel: str, role: _Role) -> str:
        type_ = bare(type_)
        cls = class_of(type_)
        key = (type_, role.suffix) if cls else (type_, role.suffix, channel)
        if key not in self._known:
            payload = self.schemas.of(type_)
            named = f"{self.schemas.name(type_)}{role.class_suffix}" if cls else f"{channel}.{role.suffix}"
            name = self._known[key] = self._names.unique(named)
            summary = {"summary": doc} if cls and (doc := split(doc_of(cls))[0]) else {}
            self._objects[name] = {
                "title": named,
                **summary,
                "headers": self._headers_of(role.headers, role.describe),
                "payload": payload,
                "correlationId": _CORRELATION,
            }
        return self._known[key]

    def _headers_of(self, name: str, describe: Callable[[], Schema]) -> Schema:
        if name not in self._headers:
            self._headers[name] = self.schemas.add(name, describe())
        return self._headers[name]


_CORRELATION = {"location": f"$message.header#/{wire.IDENTIFIER}"}
