"""Names for topics in spans and metrics, of which there are never many."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from callboard.brokers.topic import TopicTemplate

__all__ = ["INBOX", "OTHER", "Templates"]

INBOX = "(inbox)"
"""What stands for topics of the system's own: inboxes are random."""
OTHER = "(other)"
"""What stands for topics in more than `LIMIT` streams that nobody here declared."""
LIMIT = 100
"""Topics that are named as they are though nobody here declared them; streams likewise."""
REMEMBERED = 4096
"""Topics whose name is kept at hand."""


class Templates:
    """Gives each topic a name, at most `2 * LIMIT + 2` different ones besides what is declared.

    The most specific declared template that matches; else the topic itself, while fewer than `LIMIT` of these were
    seen; else its first token, as `orders.>`. A topic keeps its name until a template that matches it is declared.
    """

    def __init__(self, declared: Iterable[str] = ()) -> None:
        self._declared: dict[str, list[TopicTemplate]] = {}
        """By first token, the most specific first."""
        self._literal: set[str] = set()
        self._first: set[str] = set()
        self.of = lru_cache(REMEMBERED)(self._name)
        """The name of a topic. Never raises for a text."""
        self.declare(declared)

    def declare(self, templates: Iterable[str]) -> None:
        """Name topics by these templates from now on: what this process handles, and what it says it publishes.

        Doing it again changes nothing. Raises `TopicError` when one is no template.
        """
        for template in map(TopicTemplate.parse, templates):
            known = self._declared.setdefault(template.tokens[0], [])
            if template not in known:
                known.append(template)
                known.sort(key=lambda each: each.specificity, reverse=True)
                self.of.cache_clear()

    def _name(self, topic: str) -> str:
        if topic.startswith(("_", "$")):  # users' topics never begin like that
            return INBOX
        first = topic.split(".", maxsplit=1)[0]
        for template in self._declared.get(first, ()):
            if template.matches(topic):
                return template.text
        if _admitted(topic, self._literal):
            return topic
        return f"{first}.>" if _admitted(first, self._first) else OTHER


def _admitted(text: str, seen: set[str]) -> bool:
    if text not in seen and len(seen) < LIMIT:
        seen.add(text)
    return text in seen
