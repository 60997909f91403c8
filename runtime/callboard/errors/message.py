"""Messages that cannot be built, sent or read."""

from __future__ import annotations

from callboard.errors.base import CallboardError

__all__ = [
    "ContentDecodeError",
    "ContentEncodeError",
    "HeaderError",
    "MessageTooLargeError",
    "MessageTypeError",
    "NoParamsError",
    "ReplyTopicError",
    "TopicError",
]


class MessageTypeError(CallboardError, TypeError):
    """A part of a message has the wrong type."""

    def __init__(self, part: str, value: object, expected: str) -> None:
        self.part = part
        self.value = value
        self.expected = expected
        super().__init__(f"{part} must be {expected}, not {type(value).__name__} ({value!r:.100})")


class TopicError(CallboardError, ValueError):
    """A topic is not one that NATS and Callboard can carry."""

    def __init__(self, topic: str, rule: str) -> None:
        self.topic = topic
        self.rule = rule
        super().__init__(f"topic {topic!r:.120}: {rule}")


class ReplyTopicError(TopicError):
    """A message asks for a reply where none may go."""


class HeaderError(CallboardError, ValueError):
    """A header's name or value cannot be sent as it is."""

    def __init__(self, name: str, rule: str) -> None:
        self.name = name
        self.rule = rule
        super().__init__(f"header {name!r:.120}: {rule}")


class MessageTooLargeError(CallboardError, ValueError):
    """Headers and body together exceed what the server accepts; nothing was sent."""

    def __init__(self, topic: str, size: int, limit: int) -> None:
        self.topic = topic
        self.size = size
        self.limit = limit
        super().__init__(
            f"message for {topic!r} has {size} bytes of headers and body, the limit is {limit} "
            "(the server's max_payload less 8 KiB); send a reference to the data, or raise max_payload"
        )


class ContentEncodeError(CallboardError, TypeError):
    """Content cannot be written in the message's content type."""

    def __init__(self, rule: str, *, path: str = "") -> None:
        self.rule = rule
        self.path = path
        super().__init__(f"content cannot be encoded{f' at {path}' if path else ''}: {rule}")


class ContentDecodeError(CallboardError, ValueError):
    """A body is not valid in its content type, or does not fit the type that a handler declared."""

    def __init__(self, rule: str, *, path: str = "") -> None:
        self.rule = rule
        self.path = path
        super().__init__(f"content does not fit{f' at {path}' if path else ''}: {rule}")


class NoParamsError(CallboardError, LookupError):
    """A broker request was asked for URL parameters, which only other kinds of request have."""

    def __init__(self) -> None:
        super().__init__("a broker request has no params; read its content instead")
