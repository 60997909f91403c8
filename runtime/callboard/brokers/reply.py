"""Where replies may go: a message says where it wants its answer, and anybody may send a message."""

from __future__ import annotations

from functools import lru_cache

from callboard.brokers.topic import TopicTemplate, matches
from callboard.config import INBOX, ReplySettings
from callboard.errors import ReplyTopicError, TopicError

__all__ = ["ReplyRules"]


class ReplyRules:
    """The rules of a configuration, with the inboxes of this side itself, which begin with `own`. Topics of the system
    and wildcards are refused before, as for every message."""

    def __init__(self, settings: ReplySettings, own: str = INBOX) -> None:
        self._settings = settings
        self._prefixes = tuple(dict.fromkeys((*settings.inboxes, own)))
        self._inboxes = tuple(f"{prefix}." for prefix in self._prefixes)

    def is_inbox(self, topic: str) -> bool:
        """Whether a topic is private to whoever waits for a reply there, and nothing is stored that goes there."""
        return topic.startswith(self._inboxes)

    def check(self, topic: str, handled: str, hops: int) -> None:
        """Raises `ReplyTopicError` when a handler of the topics `handled` may not answer there. `hops` are the handlers
        in a row that led to its message."""
        if self.is_inbox(topic):
            return
        if topic.startswith("_"):
            raise ReplyTopicError(topic, f"replies go to no inbox but {', '.join(self._prefixes)}")
        if not any(matches(wanted, topic) for wanted in self._settings.topics):
            allowed = ", ".join(self._settings.topics) or "inboxes only"
            raise ReplyTopicError(topic, f"replies may not go there ('replies.topics' allows: {allowed})")
        if _handles(handled, topic):
            raise ReplyTopicError(topic, "a handler does not answer itself: it would for ever")
        if hops >= self._settings.hops:
            raise ReplyTopicError(
                topic, f"{hops} handlers in a row led here, 'replies.hops' allows {self._settings.hops}: is it a loop?"
            )


@lru_cache(maxsize=4096)
def _handles(template: str, topic: str) -> bool:
    try:
        return TopicTemplate.parse(template).matches(topic)
    except TopicError:  # what stands for no handler
        return False
