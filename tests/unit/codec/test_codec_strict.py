"""Structuring is strict, and its errors name the path."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Literal
from uuid import UUID

import pytest
from attrs import field, frozen, validators
from hypothesis import given
from hypothesis import strategies as st

from callboard.codec import JSON, MSGPACK, Codec
from callboard.errors import ContentDecodeError, DeclarationError

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)


class Cabin(Enum):
    ECONOMY = "economy"


class Priority(IntEnum):
    LOW = 1


@frozen
class Seat:
    row: int
    letter: str = "A"


@frozen
class Rebook:
    carrier: str
    flight: int
    seats: list[Seat] = field(factory=list[Seat])
    notes: dict[str, Seat] = field(factory=dict[str, Seat])


@frozen
class AllOptional:
    row: int = 0


@frozen
class Positive:
    row: int = field(validator=validators.gt(0))


@both
@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (bool, "false"),
        (bool, 1),
        (bool, 0.0),
        (int, 5.7),
        (int, 5.0),
        (int, True),
        (int, "5"),
        (int, None),
        (float, True),
        (float, "1.5"),
        (str, 5),
        (str, None),
        (None, 0),
        (UUID, "seat"),
        (UUID, 7),
        (Decimal, 1.5),
        (Decimal, 1),
        (Decimal, "NaN"),
        (Decimal, "one"),
        (datetime, 1700000000),
        (datetime, "2026-13-01T00:00:00Z"),
        (datetime, "2026-01-01"),
        (date, "2026-01-01T00:00:00Z"),
        (time, "25:00:00"),
        (timedelta, 5),
        (timedelta, "5 minutes"),
        (bytes, 5),
        (Cabin, "first"),
        (Cabin, 1),
        (Priority, True),
        (Priority, 1.0),
        (Priority, "1"),
        (Priority, 2),
        (Literal[1], True),
        (Literal["a"], "b"),
        (list[str], "abc"),
        (list[str], {"a": 1}),
        (set[int], 5),
        (tuple[int, str], [1]),
        (tuple[int, str], [1, "a", 2]),
        (tuple[int, ...], "12"),
        (dict[str, int], [1]),
        (dict[int, int], {"01": 1}),
        (dict[int, int], {"one": 1}),
        (dict[Priority, int], {"7": 1}),
        (dict[UUID, int], {"7": 1}),
        (Seat, [1]),
        (Seat, "row"),
        (AllOptional, "row"),
        (AllOptional, []),
        (int | str, 1.5),
        (int | None, "5"),
    ],
)
def test_a_value_of_another_type_is_refused(codec: Codec, type_: Any, value: Any) -> None:
    with pytest.raises(ContentDecodeError):
        codec.loads(codec.encode(value), type_)


@both
def test_an_int_is_accepted_for_a_float_and_becomes_one(codec: Codec) -> None:
    got = codec.loads(codec.encode(5), float)

    assert got == 5.0
    assert type(got) is float


@both
@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"carrier": "UA", "flight": "12"}, "content does not fit at $.flight: expected int, got str '12'"),
        ({"carrier": "UA"}, "content does not fit at $: the required field 'flight' is missing"),
        (
            {"carrier": "UA", "flight": 1, "seats": [{"row": 1}, {"row": None}]},
            "content does not fit at $.seats[1].row: expected int, got None",
        ),
        (
            {"carrier": "UA", "flight": 1, "notes": {"a b": {}}},
            "content does not fit at $.notes['a b']: the required field 'row' is missing",
        ),
        ([], "content does not fit at $: expected Rebook as an object, got list []"),
    ],
)
def test_the_error_names_path_rule_and_value(codec: Codec, content: object, text: str) -> None:
    with pytest.raises(ContentDecodeError) as caught:
        codec.loads(codec.encode(content), Rebook)

    assert str(caught.value) == text


@both
def test_a_classs_own_validator_refuses_with_its_own_words(codec: Codec) -> None:
    with pytest.raises(ContentDecodeError, match=r"at \$: 'row' must be > 0: -1"):
        codec.loads(codec.encode({"row": -1}), Positive)


@both
def test_the_text_of_an_error_stays_short_for_a_long_value(codec: Codec) -> None:
    with pytest.raises(ContentDecodeError) as caught:
        codec.loads(codec.encode("x" * 100_000), int)

    assert len(str(caught.value)) < 200


@both
def test_unknown_fields_are_ignored_and_defaults_filled_in(codec: Codec) -> None:
    body = codec.encode({"row": 3, "colour": "red", "__class__": "os.system"})

    assert codec.loads(body, Seat) == Seat(3, "A")


@both
def test_s16_names_of_modules_in_content_stay_text(codec: Codec) -> None:
    content = {"_type": "os.system", "py/object": "subprocess.Popen", "module": "antigravity"}

    assert codec.decode(codec.encode(content)) == content


@both
@pytest.mark.parametrize("type_", [Any, object, list[Any], dict[str, Any], list, dict])
def test_numbers_that_cannot_be_carried_are_refused_where_no_type_is_declared(codec: Codec, type_: Any) -> None:
    bodies = {
        JSON: (b"[18446744073709551616]", b'{"a":[-9223372036854775809]}'),
        MSGPACK: (b"\x91\xcb\x7f\xf8" + bytes(6), b"\x81\xa1a\xcb\x7f\xf0" + bytes(6)),
    }[codec]  # type: ignore[index]  # pyright: ignore[reportArgumentType]

    for body in bodies:
        with pytest.raises(ContentDecodeError):
            codec.loads(body, type_)
        with pytest.raises(ContentDecodeError):
            codec.decode(body)


@both
@given(body=st.binary(max_size=40))
def test_any_body_is_decoded_or_refused_as_content(codec: Codec, body: bytes) -> None:
    try:
        codec.decode(body)
    except ContentDecodeError:
        return


@both
def test_a_body_that_is_nested_too_deeply_is_refused(codec: Codec) -> None:
    body = b"[" * 100_000 if codec is JSON else b"\x91" * 100_000

    with pytest.raises(ContentDecodeError):
        codec.decode(body)


@both
def test_an_empty_body_is_refused_as_empty(codec: Codec) -> None:
    with pytest.raises(ContentDecodeError, match="the body is empty"):
        codec.decode(b"")


@both
def test_a_type_that_cannot_be_carried_is_refused_at_its_first_use(codec: Codec) -> None:
    with pytest.raises(DeclarationError, match="complex"):
        codec.loads(codec.encode(1), complex)


@both
def test_structure_takes_what_decode_gave(codec: Codec) -> None:
    value = codec.decode(codec.encode(Rebook("UA", 12, [Seat(1)])))

    assert codec.structure(value, Rebook) == Rebook("UA", 12, [Seat(1)])
