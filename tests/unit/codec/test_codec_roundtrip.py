"""C05: what was encoded and structured equals what was sent, in every content type."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar
from uuid import UUID

import pytest
from attrs import Factory, frozen
from hypothesis import given
from hypothesis import strategies as st

from callboard.codec import JSON, MSGPACK, Codec, check_type

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)

T = TypeVar("T")
Gate = NewType("Gate", str)


class Cabin(Enum):
    ECONOMY = "economy"
    FIRST = "first"


class Priority(IntEnum):
    LOW = 1
    HIGH = 2


class Carrier(StrEnum):
    UNITED = "UA"
    DELTA = "DL"


@frozen
class Seat:
    row: int
    letter: str


@frozen
class Plane:
    tail: str
    seats: list[Seat]


@frozen
class Bus:
    plate: str


@dataclass
class Note:
    text: str
    seats: list[Seat] = field(default_factory=list[Seat])


@frozen
class Box(Generic[T]):
    item: T
    more: list[T]
    maybe: T | None = None


@frozen
class Leg:
    origin: str
    onward: Leg | None = None
    vehicle: Plane | Bus | None = None
    branches: list[Leg] = Factory(list["Leg"])


@frozen
class Booking:
    name: str
    flight: int
    price: float
    paid: bool
    nothing: None
    photo: bytes
    reference: UUID
    rows: set[int]
    tags: frozenset[Cabin]
    total: Decimal
    at: datetime
    day: date
    clock: time
    length: timedelta
    cabin: Cabin
    priority: Priority
    carrier: Carrier
    kind: Literal["adult", "child", 3]
    seat: Seat
    vehicle: Plane | Bus
    code: int | str | None
    by_row: dict[int, Seat]
    by_reference: dict[UUID, int]
    by_priority: dict[Priority, str]
    by_cabin: Mapping[Cabin, float]
    box: Box[Seat]
    pair: tuple[int, str]
    many: tuple[Seat, ...]
    queue: deque[int]
    order: Sequence[str]
    gate: Gate
    marked: Annotated[int, "row"]
    note: Note
    anything: Any
    thing: object
    loose: Any | None
    upgrade: Cabin | None = None


offsets = st.builds(timezone, st.integers(-14 * 3600, 14 * 3600).map(lambda s: timedelta(seconds=s)))
aware = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC) | offsets)  # noqa: DTZ001
integers = st.integers(-(2**63), 2**64 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | integers | finite | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
seats = st.builds(Seat, integers, texts)
vehicles = st.builds(Plane, texts, st.lists(seats, max_size=3)) | st.builds(Bus, texts)
bookings = st.builds(
    Booking,
    name=texts,
    flight=integers,
    price=finite,
    paid=st.booleans(),
    nothing=st.none(),
    photo=st.binary(max_size=30),
    reference=st.uuids(),
    rows=st.sets(integers, max_size=4),
    tags=st.frozensets(st.sampled_from(Cabin)),
    total=st.decimals(allow_nan=False, allow_infinity=False),
    at=aware,
    day=st.dates(),
    clock=st.times(),
    length=st.timedeltas(),
    cabin=st.sampled_from(Cabin),
    priority=st.sampled_from(Priority),
    carrier=st.sampled_from(Carrier),
    kind=st.sampled_from(["adult", "child", 3]),
    seat=seats,
    vehicle=vehicles,
    code=integers | texts | st.none(),
    by_row=st.dictionaries(integers, seats, max_size=3),
    by_reference=st.dictionaries(st.uuids(), integers, max_size=3),
    by_priority=st.dictionaries(st.sampled_from(Priority), texts),
    by_cabin=st.dictionaries(st.sampled_from(Cabin), finite),
    box=st.builds(Box[Seat], seats, st.lists(seats, max_size=3), st.none() | seats),
    pair=st.tuples(integers, texts),
    many=st.lists(seats, max_size=3).map(tuple),
    queue=st.lists(integers, max_size=3).map(deque),
    order=st.lists(texts, max_size=3),
    gate=texts.map(Gate),
    marked=integers,
    note=st.builds(Note, texts, st.lists(seats, max_size=3)),
    anything=plain,
    thing=plain,
    loose=plain,
    upgrade=st.none() | st.sampled_from(Cabin),
)


@both
@given(booking=bookings)
def test_c05_an_attrs_class_equals_after_the_wire(codec: Codec, booking: Booking) -> None:
    assert codec.loads(codec.encode(booking), Booking) == booking


@both
@given(content=plain)
def test_c05_plain_content_equals_as_it_is(codec: Codec, content: Any) -> None:
    assert codec.decode(codec.encode(content)) == content


@both
@given(content=plain)
def test_c05_plain_content_equals_when_the_type_says_nothing(codec: Codec, content: Any) -> None:
    assert codec.loads(codec.encode(content), Any) == content


@both
def test_c05_structured_values_have_the_declared_classes(codec: Codec) -> None:
    """Equality alone would not tell 5 from 5.0 or an enum member from its value."""

    @frozen
    class Types:
        price: float
        priority: Priority
        carrier: Carrier
        rows: set[int]
        pair: tuple[int, str]

    sent = Types(5, Priority.HIGH, Carrier.DELTA, {1}, (1, "a"))
    got = codec.loads(codec.encode(sent), Types)

    kinds: list[type] = [type(value) for value in (got.price, got.priority, got.carrier, got.rows, got.pair)]
    assert kinds == [float, Priority, Carrier, set, tuple]


@both
def test_classes_that_contain_each_other_equal_after_the_wire(codec: Codec) -> None:
    journey = Leg("EWR", Leg("ORD", vehicle=Bus("X1")), Plane("N1", [Seat(1, "A")]), [Leg("SFO", Leg("LAX"))])
    check_type(Leg)

    assert codec.loads(codec.encode(journey), Leg) == journey


@both
def test_an_aware_datetime_keeps_its_offset(codec: Codec) -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=-5)))

    assert codec.loads(codec.encode(at), datetime).utcoffset() == timedelta(hours=-5)


@both
def test_a_datetime_whose_offset_has_seconds_stays_the_same_instant(codec: Codec) -> None:
    """RFC 3339 knows no seconds in offsets."""
    at = datetime(1850, 1, 1, tzinfo=timezone(timedelta(hours=1, seconds=21)))

    assert codec.loads(codec.encode(at), datetime) == at


@both
@pytest.mark.parametrize("value", [None, 5, 1.5, "a", True, [1], {"a": 1}])
def test_a_scalar_is_a_complete_body(codec: Codec, value: object) -> None:
    assert codec.loads(codec.encode(value), Any) == value


@both
def test_negative_zero_and_the_smallest_fraction_survive(codec: Codec) -> None:
    got = codec.loads(codec.encode([-0.0, 5e-324]), list[float])

    assert math.copysign(1, got[0]) == -1
    assert got[1] == 5e-324


@both
def test_equal_sets_give_equal_bytes(codec: Codec) -> None:
    """Identifiers of outputs are derived from a hash of the body."""
    names = [f"seat {number}" for number in range(50)]

    assert codec.encode(set(names)) == codec.encode(frozenset(sorted(names, reverse=True)))
    assert codec.decode(codec.encode(set(names))) == sorted(names)
