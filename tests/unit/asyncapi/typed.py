"""Types that content can have, with values of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, NewType, TypeAlias, TypeVar, Union
from uuid import UUID

import attrs
from attrs import Factory, field, frozen
from hypothesis import strategies as st

from callboard.codec import check_type
from callboard.codec.shape import alternatives, is_union
from callboard.errors import DeclarationError

__all__ = ["Box", "Cabin", "Cat", "Dog", "Home", "Leg", "Note", "Priority", "Typed", "typed"]

T = TypeVar("T")
Values: TypeAlias = st.SearchStrategy[Any]
Typed: TypeAlias = tuple[Any, Values]
Gate = NewType("Gate", str)


class Cabin(Enum):
    ECONOMY = "economy"
    FIRST = "first"


class Priority(IntEnum):
    LOW = 1
    HIGH = 2


@frozen
class Cat:
    """A pet."""

    lives: int


@frozen
class Dog:
    tricks: list[str] = Factory(list[str])


@dataclass
class Note:
    text: str
    at: datetime | None = None


@frozen
class Box(Generic[T]):
    item: T
    more: list[T]


@frozen
class Leg:
    origin: str
    onward: Leg | None = None


@frozen
class Home:
    pet: Cat | Dog


ADULT: Any = Literal["adult", "child", 3]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
integers = st.integers(-(2**63), 2**64 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
offsets = st.builds(timezone, st.integers(-840, 840).map(lambda minutes: timedelta(minutes=minutes)))
aware = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC) | offsets)  # noqa: DTZ001
SCALARS: list[Typed] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, integers),
    (float, finite),
    (str, texts),
    (bytes, st.binary(max_size=9)),
    (UUID, st.uuids()),
    (datetime, aware),
    (date, st.dates()),
    (time, st.times() | st.times(timezones=offsets)),
    (timedelta, st.timedeltas()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Cabin, st.sampled_from(Cabin)),
    (Priority, st.sampled_from(Priority)),
    (ADULT, st.sampled_from(["adult", "child", 3])),
    (Gate, texts.map(Gate)),
    (Annotated[int, "row"], integers),
]
OTHERS: list[Typed] = [
    (Any, st.none() | texts | integers | st.lists(texts, max_size=2)),
    (Cat, st.builds(Cat, integers)),
    (Dog, st.builds(Dog, st.lists(texts, max_size=2))),
    (Note, st.builds(Note, texts, st.none() | aware)),
    (Home, st.builds(Home, st.builds(Cat, integers) | st.builds(Dog))),
    (Leg, st.recursive(st.builds(Leg, texts), lambda legs: st.builds(Leg, texts, legs), max_leaves=3)),
]
KEYS: list[Typed] = [(type_, values) for type_, values in SCALARS if type_ in {str, int, UUID, date, Cabin, Priority}]


@st.composite
def typed(draw: st.DrawFn, depth: int = 3) -> Typed:
    """A type that content can have, and a strategy for its values."""
    made = draw(st.sampled_from([_scalar, _collection, _mapping, _union, _class] if depth else [_scalar]))(draw, depth)
    return made if _is_carried(made[0]) else draw(st.sampled_from(SCALARS))


def _is_carried(type_: Any) -> bool:
    try:
        check_type(type_)
    except DeclarationError:
        return False
    return True


def _scalar(draw: st.DrawFn, _: int) -> Typed:
    return draw(st.sampled_from(SCALARS + OTHERS))


def _collection(draw: st.DrawFn, depth: int) -> Typed:
    part, values = draw(typed(depth - 1))
    other, others = draw(st.sampled_from(SCALARS))
    lists = st.lists(values, max_size=3)
    return draw(
        st.sampled_from(
            [
                (list[part], lists),
                (deque[part], lists.map(deque)),
                (tuple[part, ...], lists.map(tuple)),
                (tuple[part, other], st.tuples(values, others)),
                (set[other], st.sets(others, max_size=3)),
                (frozenset[other], st.frozensets(others, max_size=3)),
            ]
        )
    )


def _mapping(draw: st.DrawFn, depth: int) -> Typed:
    (key, keys), (part, values) = draw(st.sampled_from(KEYS)), draw(typed(depth - 1))
    return Mapping[key, part], st.dictionaries(keys, values, max_size=3)


def _union(draw: st.DrawFn, depth: int) -> Typed:
    members = [draw(typed(depth - 1)), *draw(st.lists(st.sampled_from(SCALARS), min_size=1, max_size=2))]
    union: Any = Union[tuple(type_ for type_, _ in members)]  # noqa: UP007
    parts = alternatives(union) if is_union(union) else ()
    if float in parts and not {Priority, ADULT}.isdisjoint(parts):
        return draw(st.sampled_from(SCALARS))  # to JSON Schema every integer is a fraction
    return union, st.one_of(*(values for _, values in members))


def _class(draw: st.DrawFn, depth: int) -> Typed:
    """A field that may be missing is None by default, whatever its type: defaults are not encoded here."""
    fields = {f"field{number}": draw(typed(depth - 1)) for number in range(draw(st.integers(1, 3)))}
    optional = draw(st.sets(st.sampled_from([*fields])))
    made = attrs.make_class(
        "Made",
        {
            name: field(type=type_, kw_only=True, default=None if name in optional else attrs.NOTHING)
            for name, (type_, _) in fields.items()
        },
        frozen=True,
    )
    return made, st.builds(made, **{name: values for name, (_, values) in fields.items()})
