"""What cannot be carried is refused by the sender, with the path."""

from __future__ import annotations

from collections import OrderedDict, deque
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, TypeVar

import pytest
from attrs import field, frozen

from callboard.codec import JSON, MSGPACK, Codec
from callboard.errors import ContentEncodeError

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)
T = TypeVar("T")


class Cabin(Enum):
    ECONOMY = "economy"


class Gate(str, Enum):  # noqa: UP042 - people write it
    FIRST = "A1"


class Name(str):
    __slots__ = ()


@frozen
class Seat:
    row: int
    letter: str = "A"


@frozen
class Window(Seat):
    view: str = "wing"


@frozen
class Flight:
    seats: list[Seat]
    at: datetime | None = None
    day: date | None = None
    cabin: Cabin | None = None
    price: Decimal | None = None
    names: tuple[str, int] | None = None
    rows: set[int] = field(factory=set[int])


@frozen
class Box(Generic[T]):
    item: T


@frozen
class Lost:
    owner: Nobody  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownVariableType]


def itself() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@both
@pytest.mark.parametrize(
    ("content", "path"),
    [
        (2**64, "$"),
        (-(2**63) - 1, "$"),
        (10**5000, "$"),
        (float("nan"), "$"),
        ({"a": [1.0, float("-inf")]}, "$['a'][1]"),
        (Decimal("Infinity"), "$"),
        (Seat("12"), "$.row"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Seat(True), "$.row"),
        (Flight([Seat(1), Seat(2.5)]), "$.seats[1].row"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Flight("12"), "$.seats"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Flight([], at=date(2026, 1, 1)), "$.at"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Flight([], day=datetime(2026, 1, 1)), "$.day"),  # noqa: DTZ001
        (Flight([], cabin="economy"), "$.cabin"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Flight([], price=1.5), "$.price"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Flight([], names=("a",)), "$.names"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Flight([], rows=[1]), "$.rows"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Box(object()), "$.item"),
        ({"a": Seat}, "$['a']"),
        (1j, "$"),
        ((seat for seat in [1]), "$"),
        ({1: "a", "1": "b"}, "$"),
        ({Cabin.ECONOMY: "a", "economy": "b"}, "$"),
        ({1.5: "a"}, "$"),
        ({None: "a"}, "$"),
        ({True: "a"}, "$"),
        ({(1, 2): "a"}, "$"),
        (time(1, tzinfo=timezone(timedelta(seconds=1))), "$"),
        ("\ud800", "$"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_content_that_cannot_be_carried_is_refused_with_its_path(codec: Codec, content: object, path: str) -> None:
    with pytest.raises(ContentEncodeError) as caught:
        codec.encode(content)

    assert caught.value.path == path


@both
def test_a_class_whose_annotations_cannot_be_found_is_refused_as_content(codec: Codec) -> None:
    with pytest.raises(ContentEncodeError, match="name 'Nobody' is not defined"):
        codec.encode(Lost(1))


@both
def test_content_that_contains_itself_is_refused(codec: Codec) -> None:
    with pytest.raises(ContentEncodeError, match="contains itself"):
        codec.encode(itself())


@both
def test_the_refusal_names_rule_and_value(codec: Codec) -> None:
    with pytest.raises(ContentEncodeError, match=r"cannot be encoded at \$\.row: expected int, got str '12'"):
        codec.encode(Seat("12"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@both
@pytest.mark.parametrize(
    ("content", "plain"),
    [
        (deque([1, 2]), [1, 2]),
        (OrderedDict[str, int](a=1), {"a": 1}),
        ((1, "a"), [1, "a"]),
        (range(3), [0, 1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (Cabin.ECONOMY, "economy"),
        (Gate.FIRST, "A1"),
        (Name("x"), "x"),
        ({Cabin.ECONOMY: 1}, {"economy": 1}),
        (timedelta(hours=1), "PT3600S"),
        (Decimal("1.50"), "1.50"),
        (date(2026, 1, 2), "2026-01-02"),
        ([Seat(1)], [{"row": 1, "letter": "A"}]),
        (Window(1), {"row": 1, "letter": "A", "view": "wing"}),
    ],
    ids=repr,
)
def test_content_without_a_declared_type_is_encoded_by_its_class(codec: Codec, content: object, plain: object) -> None:
    assert codec.decode(codec.encode(content)) == plain


@both
def test_a_field_holding_a_subclass_is_encoded_as_the_field_declares(codec: Codec) -> None:
    got = codec.decode(codec.encode(Flight([Window(1)])))

    assert got["seats"] == [{"row": 1, "letter": "A"}]
