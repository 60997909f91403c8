"""Types that content cannot carry are refused when they are declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import attrs
import pytest
from attrs import frozen

from callboard.codec import check_type
from callboard.errors import DeclarationError

T = TypeVar("T")


class Odd(Enum):
    PAIR = (1, 2)


class Twin(Enum):
    NUMBER = 1
    TEXT = "1"


class Cabin(Enum):
    ECONOMY = "economy"


class Point(NamedTuple):
    x: int


class Options(TypedDict):
    x: int


@frozen
class Opened:
    flight: int


@frozen
class Shut:
    flight: int


@frozen
class Box(Generic[T]):
    item: T
    other: T | str | None = None


@frozen
class Ticket:
    reference: str | UUID


@frozen
class Trip:
    tickets: dict[str, list[Ticket]]


@frozen
class Lost:
    owner: Nobody  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownVariableType]


@frozen
class Tagged:
    _type: str


@frozen
class Tagless:
    _type: str


@frozen
class Clash:
    either: Tagged | Tagless


@frozen
class Held:
    box: Box[Opened | Shut]


@frozen
class First:
    second: Second
    others: list["Second"]  # noqa: UP037 - the forward reference is the point


@dataclass
class Second:
    first: First | None = None


@pytest.mark.parametrize(
    "type_",
    [
        str | UUID,
        datetime | str,
        bytes | str,
        UUID | None | datetime,
        Cabin | str,
        Literal["a"] | UUID,
        list[int] | set[int],
        dict[str, int] | Opened,
        Any | int | str,
        Any | int,
        Any | Opened,
        Box[Opened | Shut],
        list[Box[Opened | Shut]],
        Opened | Shut,
        list[Opened | Shut],
        Box,
        Box[UUID],
        complex,
        Path,
        Point,
        Options,
        Odd,
        type,
        Callable[[], None],
        "Opened",
        dict[float, int],
        dict[Opened, int],
        dict[tuple[int, int], int],
        dict[Twin, int],
        Ticket,
        Trip,
        Lost,
        Clash,
    ],
    ids=repr,
)
def test_a_type_that_is_ambiguous_or_unknown_is_refused(type_: Any) -> None:
    with pytest.raises(DeclarationError):
        check_type(type_)


@pytest.mark.parametrize(
    "type_",
    [
        Any,
        object,
        None,
        list,
        dict,
        int | float | bool | str | None,
        list[int] | dict[str, int] | str,
        Opened | list[Opened] | None,
        Box[int],
        Box[Box[int]],
        dict[Cabin, Opened],
        dict[Literal["a"], int],
        tuple[int, ...],
        Any | None,
        Held,
        First,
    ],
    ids=repr,
)
def test_a_type_that_can_be_carried_is_accepted(type_: Any) -> None:
    check_type(type_)


def test_the_refusal_names_the_field_and_the_rule() -> None:
    with pytest.raises(DeclarationError, match=r"^Ticket\.reference: two members of str \| UUID are a text"):
        check_type(Trip)


def test_an_annotation_that_cannot_be_found_is_named() -> None:
    with pytest.raises(DeclarationError, match="name 'Nobody' is not defined"):
        check_type(Lost)


def test_forward_references_are_resolved_and_stay_resolved() -> None:
    check_type(First)

    assert [field.type for field in attrs.fields(First)] == [Second, list[Second]]
