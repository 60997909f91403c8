"""Channels: topics, as AsyncAPI has them.

AsyncAPI knows no wildcards: `*` and `>` become parameters as captures do, and `x-callboard` has the filter of NATS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from callboard.asyncapi.name import Names
from callboard.brokers.topic import TopicTemplate

__all__ = ["Channel", "Channels"]

_REPLIES: dict[str, Any] = {
    "address": None,
    "title": "Replies",
    "description": "Each goes to the topic that the header `Callboard-Reply-Topic` of its request names.",
}


class Channel:
    """One topic filter: whoever listens on it or publishes to it, whatever they call its tokens."""

    def __init__(self, name: str, described: dict[str, Any]) -> None:
        self.name = name
        self._described = described
        self._messages: set[str] = set()

    @property
    def reference(self) -> dict[str, str]:
        """The channel in a document."""
        return {"$ref": f"#/channels/{self.name}"}

    def carry(self, message: str) -> dict[str, str]:
        """Say that a message goes over it, and refer to the message here."""
        self._messages.add(message)
        return {"$ref": f"#/channels/{self.name}/messages/{message}"}

    def as_object(self) -> dict[str, Any]:
        """The channel object of AsyncAPI."""
        messages = {name: {"$ref": f"#/components/messages/{name}"} for name in sorted(self._messages)}
        return self._described | {"messages": messages}


class Channels:
    """The channels of a document."""

    def __init__(self) -> None:
        self._names = Names()
        self._replies = Channel(self._names.unique("callboard.replies"), _REPLIES)
        self._by_filter: dict[str, Channel] = {}

    def of(self, template: TopicTemplate) -> Channel:
        """The channel of a topic; handlers that name its tokens differently share it."""
        if template.filter not in self._by_filter:
            parts = [name or token for token, name in _tokens(template)]
            self._by_filter[template.filter] = Channel(self._names.unique(".".join(parts)), _described(template))
        return self._by_filter[template.filter]

    @property
    def replies(self) -> Channel:
        """The channel of all replies."""
        self._by_filter.setdefault("", self._replies)
        return self._replies

    def as_object(self) -> dict[str, Any]:
        """The channels object of AsyncAPI, by name."""
        return {it.name: it.as_object() for it in sorted(self._by_filter.values(), key=lambda it: it.name)}


def _tokens(template: TopicTemplate) -> Iterator[tuple[str, str]]:
    """Each token with the name of its parameter, empty for a literal one."""
    captured = dict(template.names)
    for position, token in enumerate(template.tokens):
        if token in {"*", ">"} and position not in captured:
            name = f"token{position + 1}" if token == "*" else "rest"
            while name in captured.values():
                name += "_"
            yield token, name
        else:
            yield token, captured.get(position, "")


def _described(template: TopicTemplate) -> dict[str, Any]:
    tokens = list(_tokens(template))
    described: dict[str, Any] = {"address": ".".join(f"{{{name}}}" if name else token for token, name in tokens)}
    parameters = {name: {"description": _PARAMETER[token]} for token, name in tokens if name}
    if parameters:
        described |= {"parameters": parameters, "x-callboard": {"filter": template.filter}}
    return described


_PARAMETER = {"*": "One token of the topic.", ">": "One or more tokens of the topic, joined by dots."}
