"""Unions: sender and receiver decide alike."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import pytest
from attrs import field, frozen

from callboard.codec import JSON, MSGPACK, Codec
from callboard.errors import ContentDecodeError, ContentEncodeError

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)
T = TypeVar("T")


@frozen
class Moved:
    flight: int
    gate: str


@frozen
class Delayed:
    flight: int
    minutes: int


@frozen
class Opened:
    flight: int


@frozen
class Closed:
    flight: int
    after: Opened | Closed | None = None


@frozen
class Shut:
    flight: int


@frozen
class Card:
    kind: Literal["card"]
    amount: int


@frozen
class Cash:
    kind: Literal["cash"]
    amount: int


@frozen
class Voucher:
    kind: Literal["card"]
    amount: int


@frozen
class Counted:
    flight: int
    double: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.flight)


@frozen
class Box(Generic[T]):
    item: T


@frozen
class Log:
    unique: Moved | Delayed | None = None
    tagged: Opened | Shut | None = None
    recursive: Closed | None = None
    literal: Card | Cash | None = None
    half_literal: Card | Cash | Voucher | None = None
    several: tuple[Opened | Shut, ...] = ()
    computed: Opened | Counted | None = None
    boxed: Box[Opened | Shut] | None = None
    mixed: list[int] | str | int | Moved | None = None


@both
@pytest.mark.parametrize(
    "log",
    [
        Log(unique=Moved(1, "A")),
        Log(unique=Delayed(1, 5)),
        Log(tagged=Opened(1)),
        Log(tagged=Shut(1)),
        Log(recursive=Closed(1, Opened(2))),
        Log(recursive=Closed(1, Closed(2, Closed(3)))),
        Log(literal=Card("card", 1)),
        Log(literal=Cash("cash", 1)),
        Log(half_literal=Card("card", 1)),
        Log(half_literal=Cash("cash", 1)),
        Log(half_literal=Voucher("card", 1)),
        Log(several=(Shut(1), Opened(2))),
        Log(computed=Opened(1)),
        Log(computed=Counted(1)),
        Log(boxed=Box(Shut(1))),
        Log(mixed=[1]),
        Log(mixed="a"),
        Log(mixed=1),
        Log(mixed=Moved(1, "A")),
    ],
    ids=repr,
)
def test_c05_a_union_is_structured_as_the_member_that_was_sent(codec: Codec, log: Log) -> None:
    assert codec.loads(codec.encode(log), Log) == log


@both
def test_a_tag_is_written_only_where_nothing_else_tells_the_classes_apart(codec: Codec) -> None:
    got = codec.decode(codec.encode(Log(unique=Moved(1, "A"), tagged=Shut(1), literal=Cash("cash", 1))))

    assert got["unique"] == {"flight": 1, "gate": "A"}
    assert got["literal"] == {"kind": "cash", "amount": 1}
    assert got["tagged"] == {"flight": 1, "_type": "Shut"}


@both
def test_a_union_outside_of_a_class_is_told_by_a_field_of_its_own(codec: Codec) -> None:
    assert codec.loads(codec.encode([Delayed(1, 5)]), list[Moved | Delayed]) == [Delayed(1, 5)]


@both
@pytest.mark.parametrize("tag", [None, "Door", "os.system", 5, ["Shut"]])
def test_an_unknown_tag_is_refused_with_the_known_ones(codec: Codec, tag: object) -> None:
    with pytest.raises(ContentDecodeError, match=r"at \$\.tagged: expected field '_type' to be one of Opened, Shut"):
        codec.loads(codec.encode({"tagged": {"flight": 1, "_type": tag}}), Log)


@both
@pytest.mark.parametrize("name", ["unique", "literal"])
def test_an_object_that_is_none_of_the_classes_is_refused(codec: Codec, name: str) -> None:
    with pytest.raises(ContentDecodeError, match=rf"at \$\.{name}: the fields \['colour'\] are those of none of"):
        codec.loads(codec.encode({name: {"colour": "red"}}), Log)


@both
def test_a_value_of_no_member_is_refused_by_the_sender(codec: Codec) -> None:
    log = Log(tagged=Moved(1, "A"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    with pytest.raises(ContentEncodeError, match=r"at \$\.tagged: expected Opened \| Shut \| NoneType, got Moved"):
        codec.encode(log)
