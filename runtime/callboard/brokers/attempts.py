"""How often a handler has really tried a message, across processes and restarts."""

from __future__ import annotations

from abc import ABC, abstractmethod

from callboard.brokers.delivery import BrokerDelivery

__all__ = ["Attempts"]


class Attempts(ABC):
    """Counts attempts that failed. A delivery that was handed back, or whose worker died, is not an attempt, so
    the server's own count of deliveries cannot serve."""

    @abstractmethod
    async def failed(self, delivery: BrokerDelivery) -> int:
        """Attempts of this message that failed so far. Called only when it was delivered before."""

    @abstractmethod
    async def record(self, delivery: BrokerDelivery, failed: int) -> None:
        """Remember that `failed` attempts of this message failed. Called before the nak."""
