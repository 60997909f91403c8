"""The metrics of `INSTRUMENTS`, read from the plain numbers of `Statistics` whenever somebody collects them.

Counters and gauges cost nothing where things happen: whoever collects reads them, in a thread of its own. An SDK has no
observable histograms. Where the readers are ours, they add the two that we count ourselves (`duration.py`); a provider
of somebody else's is told each duration, which costs 12 us.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib.metadata import version
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary, WeakSet, ref

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

from callboard.statistics import DURATION_BUCKETS, Durations, MailboxStatistics, Statistics
from callboard.telemetry import attributes as names
from callboard.telemetry.guard import guarded
from callboard.telemetry.instrument import INSTRUMENTS, InstrumentKind, InstrumentSpec, instrument

__all__ = ["SCOPE", "Metrics", "is_of_the_api"]

_Reading = tuple[tuple[str, ...], float]
"""Values of an instrument's attributes in the order of the table, empty for those that it lacks; and its own."""
_Reader = Callable[[Statistics], Iterable[_Reading]]

SCOPE: Final = "callboard"
"""What our metrics are grouped under."""
PROCESS: Final = "process"
REMEMBERED = 4096
"""Sets of attributes kept at hand."""


def _nothing(_: object, spec: InstrumentSpec) -> list[Observation]:  # noqa: ARG001 - a fallback takes what it stands for
    return []


class Metrics:
    """What one meter provider is told; None stands for the global one.

    That may be set later: durations are then recorded from its first collection on, or the next `observe`.
    """

    def __init__(self, provider: MeterProvider | None = None) -> None:
        self.dropped: Callable[[], int] = int
        """Says how many spans were lost in this process."""
        self.recording = False
        """Whether each duration is to be recorded."""
        self.read = False
        """Whether the readers are ours, and take the durations as they were counted."""
        self._provider = ref(provider) if provider is not None else metrics.get_meter_provider
        self._sources: WeakSet[Statistics] = WeakSet()
        self._lock = Lock()
        meter = metrics.get_meter(SCOPE, version("callboard"), provider, names.SCHEMA_URL)
        for spec in INSTRUMENTS:
            self._register(meter, spec)
        self._process = _histogram(meter, "messaging.process.duration")
        self._operation = _histogram(meter, "messaging.client.operation.duration")

    @staticmethod
    def of(provider: MeterProvider | None = None) -> Metrics:
        """Those of a provider, the same each time: an SDK has each instrument once."""
        if provider is None:
            return _global()
        found = _BY_PROVIDER.get(provider)
        if found is None:
            found = _BY_PROVIDER[provider] = Metrics(provider)
        return found

    def observe(self, statistics: Statistics) -> None:
        """Report these numbers too, for as long as somebody holds them."""
        with self._lock:
            self._sources.add(statistics)
        self.recording = not self.read and (self.recording or not is_of_the_api(self._provider()))

    def durations(self) -> Iterator[tuple[InstrumentSpec, list[tuple[dict[str, str], Durations]]]]:
        """The histograms that have anything, as they were counted, by their attributes."""
        with self._lock:
            sources = tuple(self._sources)
        for name, read in _DURATIONS.items():
            spec = instrument(name)
            found: dict[tuple[str, ...], Durations] = {}
            for values, durations in (each for statistics in sources for each in read(statistics)):
                found[values] = durations.plus(found.get(values))
            if found:
                yield spec, [(_attributes(spec.attributes, *values), each) for values, each in found.items()]

    def settled(self, durable: str, seconds: float, error_type: str) -> None:
        """Record how long a delivery took."""
        self._process.record(seconds, _attributes(self._process_names, names.SYSTEM_NATS, PROCESS, durable, error_type))

    def sent(self, operation: str, template: str, seconds: float, error_type: str) -> None:
        """Record how long an operation took that sends a message."""
        values = (names.SYSTEM_NATS, operation, template, error_type)
        self._operation.record(seconds, _attributes(self._operation_names, *values))

    _process_names = instrument("messaging.process.duration").attributes
    _operation_names = instrument("messaging.client.operation.duration").attributes

    def _register(self, meter: Meter, spec: InstrumentSpec) -> None:
        def read(_: CallbackOptions) -> list[Observation]:
            self.recording = not self.read
            return self._read(spec)

        match spec.kind:
            case InstrumentKind.COUNTER:
                meter.create_observable_counter(spec.name, [read], spec.unit, spec.description)
            case InstrumentKind.GAUGE:
                meter.create_observable_gauge(spec.name, [read], spec.unit, spec.description)
            case InstrumentKind.HISTOGRAM:
                pass

    @guarded(_nothing)
    def _read(self, spec: InstrumentSpec) -> list[Observation]:
        """Counters of several sources are added; of gauges, which may say the same of one thing, the largest counts."""
        found: dict[tuple[str, ...], float] = {}
        for values, number in self._readings(spec):
            before = found.get(values)
            if before is not None:
                number = before + number if spec.kind is InstrumentKind.COUNTER else max(before, number)  # noqa: PLW2901
            found[values] = number
        return [Observation(number, _attributes(spec.attributes, *values)) for values, number in found.items()]

    def _readings(self, spec: InstrumentSpec) -> Iterator[_Reading]:
        if spec.name == "callboard.spans.dropped":
            yield (), self.dropped()
            return
        with self._lock:
            sources = tuple(self._sources)
        for statistics in sources:
            yield from _READERS[spec.name](statistics)


def is_of_the_api(provider: MeterProvider | None) -> bool:
    """Whether nobody has set this meter provider: the API's own are private, and do nothing."""
    return provider is None or type(provider).__module__.startswith("opentelemetry.metrics")


_BY_PROVIDER: WeakKeyDictionary[MeterProvider, Metrics] = WeakKeyDictionary()


@lru_cache(1)
def _global() -> Metrics:
    return Metrics()


def _histogram(meter: Meter, name: str) -> metrics.Histogram:
    spec = instrument(name)
    return meter.create_histogram(
        name, spec.unit, spec.description, explicit_bucket_boundaries_advisory=DURATION_BUCKETS
    )


@lru_cache(REMEMBERED)
def _attributes(keys: tuple[str, ...], *values: str) -> dict[str, str]:
    return {key: value for key, value in zip(keys, values, strict=True) if value}


# Other threads count while these read. Copying a dictionary is one step of the interpreter; iterating over it is not.


def _sent(statistics: Statistics) -> Iterator[_Reading]:
    for key, number in statistics.sent.copy().items():
        yield (names.SYSTEM_NATS, *key), number


def _consumed(statistics: Statistics) -> Iterator[_Reading]:
    for mailbox in _all(statistics):
        for error_type, number in mailbox.consumed.copy().items():
            yield (names.SYSTEM_NATS, PROCESS, mailbox.durable, error_type), number


def _dead_letters(statistics: Statistics) -> Iterator[_Reading]:
    for mailbox in _all(statistics):
        for error_type, number in mailbox.dead_letters.copy().items():
            yield (*_place(mailbox), error_type), number


def _each(read: Callable[[MailboxStatistics], float]) -> _Reader:
    """A number of each mailbox."""
    return lambda statistics: ((_place(mailbox), read(mailbox)) for mailbox in _all(statistics))


def _each_surveyed(read: Callable[[MailboxStatistics], float]) -> _Reader:
    """A number of each mailbox about which a server was asked; others are not 0 but unknown."""
    return lambda statistics: ((_place(mailbox), read(mailbox)) for mailbox in _all(statistics) if mailbox.stream)


def _all(statistics: Statistics) -> tuple[MailboxStatistics, ...]:
    return tuple(statistics.mailboxes.copy().values())


def _place(mailbox: MailboxStatistics) -> tuple[str, str, str]:
    return mailbox.actor, mailbox.topic, mailbox.durable


_READERS: dict[str, _Reader] = {
    "messaging.client.sent.messages": _sent,
    "messaging.client.consumed.messages": _consumed,
    "callboard.mailbox.lag": _each_surveyed(lambda mailbox: mailbox.lag_now),
    "callboard.mailbox.ack_pending": _each_surveyed(lambda mailbox: mailbox.ack_pending_now),
    "callboard.mailbox.age": _each_surveyed(lambda mailbox: mailbox.age_now),
    "callboard.mailbox.credit": _each_surveyed(lambda mailbox: mailbox.credit_now),
    "callboard.actor.restarts": lambda statistics: (((a,), n) for a, n in statistics.restarts.copy().items()),
    "callboard.actor.state": lambda statistics: statistics.states().items(),
    "callboard.dead_letters": _dead_letters,
    "callboard.redeliveries": _each(lambda mailbox: mailbox.redelivered),
    "callboard.duplicates": _each(lambda mailbox: mailbox.duplicates),
    "callboard.lease.lost": _each(lambda mailbox: mailbox.leases_lost),
    "callboard.outbox.pending": lambda statistics: (((q,), n) for q, n in statistics.outbox_now.copy().items()),
    "callboard.loop.lag": lambda statistics: [((), statistics.loop_lag_now)],
}


def _processed(statistics: Statistics) -> Iterator[tuple[tuple[str, ...], Durations]]:
    for mailbox in _all(statistics):
        for error_type, durations in mailbox.durations.copy().items():
            yield (names.SYSTEM_NATS, PROCESS, mailbox.durable, error_type), durations


def _operations(statistics: Statistics) -> Iterator[tuple[tuple[str, ...], Durations]]:
    for key, durations in statistics.sent_durations.copy().items():
        yield (names.SYSTEM_NATS, *key), durations


_DURATIONS = {"messaging.process.duration": _processed, "messaging.client.operation.duration": _operations}
