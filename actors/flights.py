"""Departures from New York: how late they are, new seats for cancelled ones, and a ledger that shows any loss.

    callboard run actors.flights --embedded
    callboard request airports.EWR.delay

A message on `flights.departed` is one row of the file in `data/`: its columns as keys, numbers as numbers and
`NA` as null.
"""

from __future__ import annotations

from attrs import frozen

from actors.airline import AirlineDesk, DeskDownError, open_desk
from actors.store import Store, open_store
from callboard import Actor, BrokerRequest, BrokerResponseException, Supervisor, command, event, query

__all__ = [
    "AirportDelay",
    "Delays",
    "Departure",
    "Disruptions",
    "DisruptionsSummary",
    "Ledger",
    "LedgerSummary",
    "Rebook",
    "Rebooked",
    "Rebooking",
    "RebookingSummary",
    "flights",
]


@frozen
class Departure:
    """The columns that the actors read; a message may have more."""

    year: int
    month: int
    day: int
    carrier: str
    flight: int
    origin: str
    sched_dep_time: int
    """Local time as `HHMM`: 515 is a quarter past five."""
    dep_time: int | None
    """None: the flight was cancelled."""
    dep_delay: float | None
    """Minutes, negative when early."""

    @property
    def key(self) -> str:
        """What names a flight: carrier, number, day, origin and scheduled departure."""
        day = f"{self.year}-{self.month:02}-{self.day:02}"
        return f"{self.carrier}{self.flight}.{day}.{self.origin}.{self.sched_dep_time:04}"


@frozen
class AirportDelay:
    """The flights that departed from an airport so far."""

    airport: str
    departures: int
    mean_delay: float
    """Minutes."""


class Delays(Actor):
    """Keeps the delay of each flight, and answers how late an airport is.

    A flight that is handled twice counts once: its row is there already.
    """

    concurrency = 64

    def __init__(self, store: Store) -> None:
        self.store = store

    async def on_start(self) -> None:
        await self.store.create("delays (flight TEXT PRIMARY KEY, airport TEXT, minutes REAL) WITHOUT ROWID")

    @event("flights.departed")
    async def keep(self, departure: Departure) -> None:
        if departure.dep_delay is not None:
            await self.store.write(
                "INSERT OR IGNORE INTO delays VALUES (?, ?, ?)",
                departure.key,
                departure.origin,
                departure.dep_delay,
            )

    @query("airports.{code}.delay")
    async def delay(self, code: str) -> AirportDelay:
        departures, mean = await self.store.read("SELECT count(*), avg(minutes) FROM delays WHERE airport = ?", code)
        if not departures:
            raise BrokerResponseException(f"no flight has departed from {code!r}", status=404)
        return AirportDelay(code, departures, mean)


@frozen
class Rebook:
    """The passengers of a cancelled flight need seats."""

    flight: str


@frozen
class Rebooked:
    """They have them."""

    flight: str
    seats: int


@frozen
class DisruptionsSummary:
    """What became of the cancelled flights that were answered so far."""

    rebooked: int
    refused: int
    """No seats left."""
    failed: int
    """Given up, with a dead letter, because the desk did not answer."""


class Disruptions(Actor):
    """Has the passengers of every cancelled flight rebooked, and keeps how that ended.

    It does not wait for the answer inside the handler: the answer is a message of its own. The header `flight`
    comes back with it and says which flight it is about, also when the answer is a refusal or a failure.
    """

    concurrency = 64
    publishes = {"passengers.rebook": Rebook}

    def __init__(self, store: Store) -> None:
        self.store = store

    async def on_start(self) -> None:
        await self.store.create("outcomes (flight TEXT PRIMARY KEY, status INTEGER NOT NULL) WITHOUT ROWID")

    @event("flights.departed")
    async def notice(self, departure: Departure) -> None:
        if departure.dep_time is None:
            await self.publish(
                "passengers.rebook",
                Rebook(departure.key),
                headers={"flight": departure.key},
                reply_topic="passengers.answered",
            )

    @event("passengers.answered")
    async def note(self, answer: BrokerRequest) -> None:
        await self.store.write(
            "INSERT OR REPLACE INTO outcomes VALUES (?, ?)", answer.headers["flight"], int(answer.raw.status)
        )

    @query("disruptions.summary")
    async def summary(self) -> DisruptionsSummary:
        counts = await self.store.read(
            "SELECT count(*) FILTER (WHERE status < 400), count(*) FILTER (WHERE status BETWEEN 400 AND 499), "
            "count(*) FILTER (WHERE status >= 500) FROM outcomes"
        )
        return DisruptionsSummary(*counts)


@frozen
class RebookingSummary:
    """The book of the airline's desk."""

    flights: int
    calls: int


class Rebooking(Actor):
    """Asks the airline's desk for seats.

    A desk that is down is asked again, up to four times in all; then the command becomes a dead letter, and
    whoever sent it hears 500. No seats is an answer, not a failure: it is given at once.
    """

    concurrency = 16

    def __init__(self, desk: AirlineDesk) -> None:
        self.desk = desk

    # A desk that does not answer about one flight says nothing of the others: no reason for the mailbox to pause.
    @command("passengers.rebook", timeout=10.0, retry=(0, 0.1, 0.3), failures={DeskDownError: "retry"})
    async def rebook(self, request: Rebook) -> Rebooked:
        seats = await self.desk.seats(request.flight)
        if not seats:
            raise BrokerResponseException(f"no seats left for {request.flight}", status=409)
        return Rebooked(request.flight, seats)

    @query("rebooking.summary")
    async def summary(self) -> RebookingSummary:
        calls, flights = await self.desk.calls()
        return RebookingSummary(flights, calls)


@frozen
class LedgerSummary:
    """`handled` above `distinct` is repetition; `distinct` below what was published is loss."""

    handled: int
    distinct: int


class Ledger(Actor):
    """Counts how often each flight was handled."""

    concurrency = 64

    def __init__(self, store: Store) -> None:
        self.store = store

    async def on_start(self) -> None:
        await self.store.create("ledger (flight TEXT PRIMARY KEY, handled INTEGER NOT NULL) WITHOUT ROWID")

    @event("flights.departed")
    async def count(self, departure: Departure) -> None:
        await self.store.write(
            "INSERT INTO ledger VALUES (?, 1) ON CONFLICT (flight) DO UPDATE SET handled = handled + 1",
            departure.key,
        )

    @query("ledger.summary")
    async def summary(self) -> LedgerSummary:
        return LedgerSummary(*await self.store.read("SELECT coalesce(sum(handled), 0), count(*) FROM ledger"))


flights = Supervisor(
    [Delays, Disruptions, Rebooking, Ledger],
    provide={Store: open_store, AirlineDesk: open_desk},
)
