"""Schemas: what they say of each kind of type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import attrs
import pytest
from attrs import field, frozen

from callboard.asyncapi.schema import Schemas
from callboard.codec import JSON
from tests.unit.asyncapi.agreement import accepts, reads
from tests.unit.asyncapi.typed import Box, Cabin, Cat, Dog, Home, Leg, Note, Priority


@frozen
class Order:
    """What somebody wants.

    Once.
    """

    item: str
    """What it is called."""
    count: int = 1
    """How many,
    at least one."""
    cabin: Cabin = Cabin.ECONOMY
    notes: list[str] = field(factory=list[str])
    _secret: str = "no"
    total: int = field(init=False, default=0)


@frozen
class Tagged:
    @frozen
    class One:
        same: int

    @frozen
    class Two:
        same: int

    either: One | Two


def schema_of(type_: Any) -> dict[str, Any]:
    """What stands under the type's own name."""
    schemas = Schemas()
    schemas.of(type_)
    return schemas.components[schemas.name(type_) or ""]


def test_a_class_is_an_object_with_its_fields_as_they_travel() -> None:
    schema = schema_of(Order)

    assert list(schema["properties"]) == ["item", "count", "cabin", "notes", "_secret"]
    assert schema["required"] == ["item"]
    assert JSON.decode(JSON.encode(Order("tea"))).keys() == schema["properties"].keys()


def test_fields_say_their_defaults_and_what_stands_under_them() -> None:
    properties = schema_of(Order)["properties"]

    assert properties["item"] == {"type": "string", "description": "What it is called."}
    assert properties["count"] == {"type": "integer", "description": "How many,\nat least one.", "default": 1}
    assert properties["cabin"] == {"allOf": [{"$ref": "#/components/schemas/Cabin"}], "default": "economy"}
    assert properties["notes"] == {"type": "array", "items": {"type": "string"}}


def test_a_class_says_its_own_docstring() -> None:
    assert schema_of(Order)["description"] == "What somebody wants.\n\nOnce."
    assert "description" not in schema_of(Note)  # dataclasses write one where there is none
    assert "description" not in schema_of(Dog)


def test_fields_of_a_base_class_are_described_too() -> None:
    @frozen
    class Gift(Order):
        to: str = ""
        """Who gets it."""

    properties = schema_of(Gift)["properties"]

    assert (properties["item"]["description"], properties["to"]["description"]) == (
        "What it is called.",
        "Who gets it.",
    )


def test_a_class_without_source_has_fields_without_descriptions() -> None:
    made = attrs.make_class("Made", {"x": field(type=int)})

    assert schema_of(made)["properties"] == {"x": {"type": "integer"}}


def test_an_enum_is_its_values() -> None:
    assert schema_of(Priority) == {"title": "Priority", "type": "integer", "enum": [1, 2]}


def test_keys_are_the_texts_that_json_makes_of_them() -> None:
    schemas = Schemas()

    assert schemas.of(Mapping[Priority, Any])["propertyNames"] == {"enum": ["1", "2"]}
    assert schemas.of(dict[int, str])["propertyNames"]["pattern"] == "^(?:0|-?[1-9][0-9]*)$"
    assert "propertyNames" not in schemas.of(dict[str, str])


def test_members_of_other_types_are_one_schema() -> None:
    schemas = Schemas()

    assert schemas.of(int | str | None) == {"type": ["integer", "string", "null"]}
    assert schemas.of(Cat | None) == {"anyOf": [{"$ref": "#/components/schemas/Cat"}, {"type": "null"}]}
    assert schemas.of(Any | None) == {}
    assert schemas.of(Decimal | None)["anyOf"][1] == {"type": "null"}


def test_classes_that_only_their_names_tell_apart_have_a_tag() -> None:
    tagged = [
        {
            "allOf": [
                {"$ref": f"#/components/schemas/{name}"},
                {"properties": {"_type": {"const": name}}, "required": ["_type"]},
            ]
        }
        for name in ("One", "Two")
    ]
    assert schema_of(Tagged)["properties"]["either"] == {"anyOf": tagged}
    assert JSON.decode(JSON.encode(Tagged(Tagged.Two(1)))) == {"either": {"same": 1, "_type": "Two"}}
    assert schema_of(Home)["properties"]["pet"]["anyOf"] == [
        {"$ref": "#/components/schemas/Cat"},
        {"$ref": "#/components/schemas/Dog"},
    ]


def test_a_class_that_contains_itself_refers_to_itself() -> None:
    onward = schema_of(Leg)["properties"]["onward"]

    assert onward == {"anyOf": [{"$ref": "#/components/schemas/Leg"}, {"type": "null"}], "default": None}


def test_a_generic_class_is_a_type_for_each_of_its_parts() -> None:
    schemas = Schemas()

    assert schemas.of(Box[int]) == {"$ref": "#/components/schemas/Box_int"}
    assert schemas.components["Box_int"]["properties"]["more"] == {"type": "array", "items": {"type": "integer"}}
    assert schemas.of(Box[Cat]) == {"$ref": "#/components/schemas/Box_Cat"}


def test_classes_of_one_name_are_two_types() -> None:
    @dataclass
    class Cat:
        name: str

    schemas = Schemas()

    assert schemas.of(Home) == {"$ref": "#/components/schemas/Home"}
    assert schemas.of(Cat) == {"$ref": f"#/components/schemas/{__name__}.Cat"}
    assert set(schemas.components) == {"Home", "Cat", "Dog", f"{__name__}.Cat"}


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (bytes, ["", "QQ==", "QUI="], ["Q", "QQ", "QQ==QQ==", "Q-_="]),
        (UUID, ["00000000-0000-0000-0000-000000000000"], ["", "0"]),
        (datetime, ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+01:00"], ["2026-01-01", "2026-13-01T00:00:00Z"]),
        (date, ["2026-01-31"], ["2026-02-30", "2026-1-1"]),
        (time, ["00:00:00", "23:59:59.123456", "12:00:00Z", "12:00:00-23:59"], ["24:00:00", "12:00", "12:00:00+24:00"]),
        (timedelta, ["P0D", "-P1DT2.5S", "PT1H2M3S"], ["P", "PT", "P1DT", "P1Y", "P1W", "PT1M2H", "PT1.S"]),
        (Decimal, ["0", "-1.50", "1E+30", "0E-7"], ["", "NaN", "Infinity", "1.5.5", "x1"]),
        (Literal["adult", 3], ["adult", 3], ["3", 4, None]),
        (dict[int, int], [{"0": 1, "-12": 1}], [{"01": 1}, {"-0": 1}, {"x": 1}, {"1": "x"}]),
        (tuple[int, str], [[1, "x"]], [[1], ["x", 1], [1, "x", 2]]),
        (set[int], [[1, 2]], ["x", [None]]),
        (float, [1, 1.5, -1e300], [True, None, "1"]),
        (int, [1], [True, 1.5, "1"]),
    ],
)
def test_the_schema_and_the_codec_agree_about_a_value(type_: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not (accepts(type_, value) and reads(type_, value))] == []
    assert [value for value in bad if accepts(type_, value) or reads(type_, value)] == []


@pytest.mark.parametrize("plain", [float("nan"), object()])
def test_a_default_that_is_no_plain_value_is_not_said(plain: object) -> None:
    made = attrs.make_class("Made", {"x": field(type=str, default=plain)})

    assert schema_of(made)["properties"] == {"x": {"type": "string"}}


def test_a_datetime_without_offset_is_no_date_time_of_rfc_3339() -> None:
    """What the module says about it: validators that check formats refuse what the codec wrote."""
    assert Schemas().of(datetime)["format"] == "date-time"
    assert JSON.encode(datetime(2026, 1, 1)) == b'"2026-01-01T00:00:00"'  # noqa: DTZ001


def test_an_enum_without_docstring_has_no_description() -> None:
    class Plain(Enum):
        A = "a"

    assert schema_of(Plain) == {"title": "Plain", "type": "string", "const": "a"}
