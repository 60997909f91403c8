"""What happened to a message before, across processes and restarts."""

from __future__ import annotations

from abc import ABC, abstractmethod

from attrs import frozen

from callboard.brokers.delivery import BrokerDelivery

__all__ = ["CONVICTED", "NO_PAST", "SUSPECT", "Attempts", "Past"]

SUSPECT = 1
"""A worker died while it ran this message among others."""
CONVICTED = 2
"""A worker died while it ran this suspect alone: the message is given up."""


@frozen
class Past:
    """What a message has been through."""

    failed: int = 0
    """Attempts that failed. A delivery that was handed back, or whose worker died, is none, so the server's own
    count of deliveries cannot serve."""
    deaths: int = 0
    """0, `SUSPECT` or `CONVICTED`."""


NO_PAST = Past()


class Attempts(ABC):
    """Remembers failed attempts and deaths."""

    @abstractmethod
    async def past(self, delivery: BrokerDelivery) -> Past:
        """What is remembered of a message. Called only when it was delivered before."""

    @abstractmethod
    async def record(self, delivery: BrokerDelivery, past: Past) -> None:
        """Remember; replaces what was remembered. Called before the nak."""
