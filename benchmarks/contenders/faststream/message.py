"""The messages as FastStream decodes them: pydantic models, its default, and orjson, which it takes where it is there.

Its msgspec serializer was no faster: 19.7 k against 20.4 k messages a second in a drain by push.
"""

from __future__ import annotations

from pydantic import BaseModel

__all__ = ["Answer", "Departure"]


class Departure(BaseModel):
    """See `benchmarks.message`."""

    number: int
    year: int
    month: int
    day: int
    carrier: str
    flight: int
    origin: str
    sched_dep_time: int
    dep_time: int | None
    dep_delay: float | None


class Answer(BaseModel):
    """See `benchmarks.message`."""

    number: int
    late: bool
