"""What a transport promises, so that the conformance suite knows what to ask of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
from attrs import frozen

from callboard.errors import DeclarationError, did_you_mean

__all__ = ["Features", "needed_by", "needs"]

F = TypeVar("F", bound=Callable[..., object])

_NEEDS = "__callboard_needs__"


@frozen(kw_only=True)
class Features:
    """The promises of one transport. Everything is promised unless said: a promise that is added here later fails
    where nobody has thought about it, instead of being skipped."""

    durable: bool = True
    """What was accepted waits, although nobody listens: a group that comes back goes on where it was, and one that
    is new begins at the first message."""

    groups: bool = True
    """Subscribers of one group compete, each message goes to one of them; each group gets each message."""

    order: bool = True
    """First attempts of one mailbox begin in the order in which the messages were accepted."""

    wildcards: bool = True
    """`*` stands for one token of a topic, and `>`, at the end, for one or more."""

    redelivery: bool = True
    """What a subscriber holds is handed to another one after `ack_wait` seconds without a sign of life of it."""

    delayed_redelivery: bool = True
    """`nak(delay)` brings a message back, not before `delay` seconds, and nothing that it does not concern waits."""

    duplicate_window: bool = True
    """Messages with one `Nats-Msg-Id` are stored once in a stream, while the first of them is not too old."""

    declared_topics: bool = True
    """A topic exists once a service handles it or declares that it publishes to it; publishing to one that does not
    is refused with `NoStreamError`. A publisher makes the topic first."""

    private_replies: bool = True
    """`reply_box` is a topic that nobody else hears, and whoever sends a request is told when nobody handles it."""

    ownership: bool = True
    """A command or query belongs to one service: another one that declares an overlapping topic is refused."""

    removal: bool = True
    """`remove` deletes durables, and who still uses one is told with `TopologyError`."""


def needs(*features: str) -> Callable[[F], F]:
    """Mark a behaviour as one that only these features promise. Raises `DeclarationError` for an unknown one."""
    known = attrs.fields_dict(Features)
    for feature in features:
        if feature not in known:
            raise DeclarationError(f"needs({feature!r})", f"is no feature{did_you_mean(feature, known)}")

    def mark(behaviour: F) -> F:
        setattr(behaviour, _NEEDS, features)
        return behaviour

    return mark


def needed_by(behaviour: object) -> tuple[str, ...]:
    """The features that promise a behaviour; none for one that every transport has."""
    return getattr(behaviour, _NEEDS, ())
