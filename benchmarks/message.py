"""What the messages hold, as Callboard and the hand-written loop decode it."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Answer", "Departure", "Parcel"]


@frozen
class Departure:
    """The columns of a flight that the reference application reads; the message has nine more."""

    number: int
    """Which message it is; not a column."""
    year: int
    month: int
    day: int
    carrier: str
    flight: int
    origin: str
    sched_dep_time: int
    dep_time: int | None
    dep_delay: float | None


@frozen
class Answer:
    """The reply to a request with a departure."""

    number: int
    late: bool


@frozen
class Parcel:
    """A body of a given size."""

    number: int
    filler: str
