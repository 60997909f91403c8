"""What could not be handled, and why."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from datetime import datetime

from attrs import frozen

from callboard.brokers.delivery import BrokerDelivery

__all__ = ["DeadLetter", "DeadLetters"]

TRACEBACK_LINES = 40


@frozen
class DeadLetter:
    """A delivery that was given up, with the reason. The original body and headers are kept as they were."""

    delivery: BrokerDelivery
    error_type: str
    error_message: str
    traceback: str
    attempts: int
    at: datetime

    @classmethod
    def of(cls, delivery: BrokerDelivery, error: BaseException, attempts: int, at: datetime) -> DeadLetter:
        """The dead letter for an error, its traceback bounded to the last lines."""
        lines = "".join(traceback.format_exception(error)).splitlines()
        return cls(
            delivery=delivery,
            error_type=type(error).__name__,
            error_message=str(error)[:1000],
            traceback="\n".join(lines[-TRACEBACK_LINES:]),
            attempts=attempts,
            at=at,
        )


class DeadLetters(ABC):
    """Where dead letters are kept."""

    @abstractmethod
    async def put(self, letter: DeadLetter, carrier: dict[str, str]) -> None:
        """Store a letter; when this returns, it is safe. Storing the same delivery's letter again keeps one.

        `carrier` are the trace headers that a replay goes on from. Raises `SubstrateError` or
        `PublishRefusedError` when it is not stored: the delivery must not be terminated then.
        """
