"""Topics: what may be published to, and the templates that handlers listen on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Self

from attrs import field, frozen

from callboard.errors import TopicError

__all__ = ["TopicTemplate", "check_reply_topic", "check_topic", "covers", "matches", "overlap"]

MAX_TOPIC_BYTES = 1000
"""The server drops a connection whose subject nears 4096 bytes; the room left is for its own prefixes."""

_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f]")
_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def check_topic(topic: str) -> str:
    """Return `topic` when a message can be published to it.

    A topic is one or more non-empty tokens joined by dots, without white space, control characters or wildcards;
    its first token begins with neither `$` nor `_`. Raises `TopicError`, which names the rule.
    """
    return _checked(topic)


@lru_cache(maxsize=4096)
def _checked(topic: str) -> str:
    first = _tokens(topic)[0]
    if first[0] in "$_":
        raise TopicError(topic, f"topics that begin with {first[0]!r} belong to the system")
    _no_wildcards(topic)
    return topic


def check_reply_topic(topic: str) -> str:
    """Like `check_topic`, but inboxes (`_INBOX.…`) are allowed. Raises `TopicError`."""
    if _tokens(topic)[0].startswith("$"):
        raise TopicError(topic, "a reply cannot go to a topic that begins with '$'")
    _no_wildcards(topic)
    return topic


def _no_wildcards(topic: str) -> None:
    if "*" in topic or ">" in topic:
        raise TopicError(topic, "a message goes to one topic; wildcards are for those who listen")


def _tokens(topic: str) -> list[str]:
    if not topic:
        raise TopicError(topic, "a topic has at least one character")
    if _UNPRINTABLE.search(topic):
        raise TopicError(topic, "white space and control characters are not allowed")
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:
        raise TopicError(topic, "is not valid Unicode") from None
    if size > MAX_TOPIC_BYTES:
        raise TopicError(topic, f"is {size} bytes long, at most {MAX_TOPIC_BYTES} are allowed")
    tokens = topic.split(".")
    if not all(tokens):
        raise TopicError(topic, "has an empty token (a dot at an end, or two in a row)")
    return tokens


@frozen
class TopicTemplate:
    """What a handler listens on: literal tokens, `{name}` (captures one token), `*` (any one token) and, at the
    end, `>` (one or more tokens). The first token is literal, so that the topic has a stream."""

    text: str
    tokens: tuple[str, ...] = field(repr=False, eq=False)
    """The filter's tokens, captures turned into `*`."""
    names: tuple[tuple[int, str], ...] = field(repr=False, eq=False)
    """Position and name of each capture."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `TopicError` when `text` is no template."""
        tokens: list[str] = []
        names: list[tuple[int, str]] = []
        parts = _tokens(text)
        for position, token in enumerate(parts):
            if match := _NAME.fullmatch(token):
                names.append((position, match[1]))
                tokens.append("*")
                continue
            _check_token(text, token, last=position == len(parts) - 1)
            tokens.append(token)
        if tokens[0] in {"*", ">"} or tokens[0][0] in "$_":
            raise TopicError(text, "the first token is literal and begins with neither '$' nor '_'")
        captured = [name for _, name in names]
        if len(set(captured)) != len(captured):
            raise TopicError(text, "captures one name twice")
        return cls(text, tuple(tokens), tuple(names))

    @property
    def filter(self) -> str:
        """The NATS subject filter."""
        return ".".join(self.tokens)

    def matches(self, topic: str) -> bool:
        """Whether a message to `topic` is for this template."""
        return _match(self.tokens, topic)

    def captures(self, topic: str) -> dict[str, str]:
        """The captured tokens of a topic that matches, by name."""
        if not self.names:
            return {}
        tokens = topic.split(".")
        return {name: tokens[position] for position, name in self.names}

    @property
    def specificity(self) -> tuple[int, ...]:
        """Sorts templates that match the same topic: the greatest is the most specific."""
        return tuple({"*": 1, ">": 0}.get(token, 2) for token in self.tokens)


def _check_token(text: str, token: str, *, last: bool) -> None:
    if token == ">":
        if not last:
            raise TopicError(text, "'>' can only be the last token")
    elif token != "*" and ("*" in token or ">" in token):
        raise TopicError(text, f"a wildcard fills a whole token; {token!r} mixes it with text")
    elif "{" in token or "}" in token:
        raise TopicError(text, f"a capture fills a whole token and is a name, such as {{code}}; not {token!r}")


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic matches a filter."""
    return topic_filter == topic or _match(topic_filter.split("."), topic)


def _match(wanted: Sequence[str], topic: str) -> bool:
    tokens = topic.split(".")
    if wanted[-1] == ">":
        if len(tokens) < len(wanted):
            return False
    elif len(tokens) != len(wanted):
        return False
    return all(mine in {"*", ">", theirs} for mine, theirs in zip(wanted, tokens, strict=False))


def overlap(one: str, other: str) -> bool:
    """Whether some topic matches both filters."""
    ours, theirs = one.split("."), other.split(".")
    for mine, yours in zip(ours, theirs, strict=False):
        if ">" in {mine, yours}:
            return True
        if "*" not in {mine, yours} and mine != yours:
            return False
    return len(ours) == len(theirs)


def covers(subject: str, topic_filter: str) -> bool:
    """Whether every topic that matches `topic_filter` matches `subject`."""
    theirs, ours = subject.split("."), topic_filter.split(".")
    for position, token in enumerate(theirs):
        if token == ">":
            return len(ours) > position
        if position >= len(ours) or ours[position] == ">":
            return False
        if token not in {"*", ours[position]}:
            return False
    return len(theirs) == len(ours)
