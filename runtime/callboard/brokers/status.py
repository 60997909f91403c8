"""What is to be known of a mailbox from outside."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

__all__ = ["Flow", "MailboxStatus"]


class Flow(StrEnum):
    """Whether a mailbox takes messages. What is not open waits for something that its handler needs."""

    OPEN = "open"
    PAUSED = "paused"
    """It asks for nothing."""
    PROBING = "probing"
    """It tries one message at a time."""


@frozen
class MailboxStatus:
    """One mailbox of this process, now."""

    durable: str
    topic: str
    """Topic template."""
    live: bool = False
    """Whether messages would arrive: a pull waits at a server that has shown a sign of life, or there is no room for
    one."""
    flow: Flow = Flow.OPEN
    alarm: str = ""
    """What is missing that only a person can bring back; empty while all is well."""
    lag: int | None = None
    """Messages that nobody was handed yet, anywhere; None when that is not known."""
