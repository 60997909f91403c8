"""An airline's rebooking desk, as moody as a real one but the same in every run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import Enum
from zlib import crc32

from actors.store import Store, open_store

__all__ = ["ATTEMPTS", "BUSY_CALLS", "AirlineDesk", "DeskDownError", "Mood", "mood_of", "open_desk"]

ATTEMPTS = 4
"""How often `Rebooking` tries before it gives a flight up: at once and after its three delays."""
BUSY_CALLS = 2
"""How many calls a busy desk leaves unanswered."""


class Mood(Enum):
    """What the desk does about a flight. It depends on the flight alone, so that a run can be checked."""

    HELPFUL = "helpful"
    """Seats at the first call."""
    FULL = "full"
    """No seats left: a refusal, which trying again would not change."""
    BUSY = "busy"
    """Down for the first `BUSY_CALLS` calls, then helpful."""
    DOWN = "down"
    """Down at every call."""


_TROUBLES = {0: Mood.FULL, 1: Mood.BUSY, 2: Mood.DOWN}


def mood_of(flight: str) -> Mood:
    """Each trouble meets one flight in eight, by a checksum of its key."""
    return _TROUBLES.get(crc32(flight.encode()) % 8, Mood.HELPFUL)


class DeskDownError(Exception):
    """Nobody answered at the desk. Another call may be answered."""

    def __init__(self, flight: str, call: int) -> None:
        self.flight = flight
        self.call = call
        super().__init__(f"the airline's desk did not answer call {call} about {flight}")


class AirlineDesk:
    """Finds seats for the passengers of cancelled flights, and keeps a book of the calls."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def seats(self, flight: str) -> int:
        """How many seats there are for the passengers of a flight. Raises `DeskDownError`."""
        call = await self._note_call(flight)
        mood = mood_of(flight)
        if mood is Mood.DOWN or (mood is Mood.BUSY and call <= BUSY_CALLS):
            raise DeskDownError(flight, call)
        return 0 if mood is Mood.FULL else 1 + crc32(flight.encode()) % 180

    async def calls(self) -> tuple[int, int]:
        """Calls in all, and the flights that they were about."""
        calls, flights = await self.store.read("SELECT coalesce(sum(calls), 0), count(*) FROM desk")
        return calls, flights

    async def _note_call(self, flight: str) -> int:
        """The number of this call about the flight, 1 for the first; also after a crash."""
        await self.store.write(
            "INSERT INTO desk VALUES (?, 1) ON CONFLICT (flight) DO UPDATE SET calls = calls + 1", flight
        )
        (call,) = await self.store.read("SELECT calls FROM desk WHERE flight = ?", flight)
        return int(call)


@asynccontextmanager
async def open_desk() -> AsyncGenerator[AirlineDesk]:
    """Call the desk. Its book is a file of its own: it would otherwise wait while the actors write to theirs."""
    async with open_store("-desk") as store:
        await store.create("desk (flight TEXT PRIMARY KEY, calls INTEGER NOT NULL) WITHOUT ROWID")
        yield AirlineDesk(store)
