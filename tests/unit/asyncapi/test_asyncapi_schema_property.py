"""Schemas say what the codec writes and reads, for types and values of all kinds."""

from __future__ import annotations

import json
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callboard.codec import JSON
from tests.unit.asyncapi.agreement import accepts, reads
from tests.unit.asyncapi.typed import Typed, typed

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(of=typed(), data=st.data())
def test_what_the_codec_writes_fits_the_schema(of: Typed, data: st.DataObject) -> None:
    type_, values = of

    body = JSON.encode(data.draw(values))

    assert accepts(type_, json.loads(body))


@unhurried
@given(of=typed(), data=st.data())
def test_what_fits_the_schema_is_read(of: Typed, data: st.DataObject) -> None:
    type_, values = of

    body = data.draw(_changed(json.loads(JSON.encode(data.draw(values)))))

    assert reads(type_, body) or not accepts(type_, body)


fractions = st.floats(-1e6, 1e6).filter(lambda number: not number.is_integer())
junk = st.sampled_from([None, True, 0, 7, -1, "", "x", "1", "0", [], [1], {}, {"x": 1}]) | fractions


@st.composite
def _changed(draw: st.DrawFn, value: Any) -> Any:
    """A value of JSON, broken somewhere or not at all."""
    whole = draw(st.booleans())
    if isinstance(value, dict) and not whole:
        return draw(_changed_object(cast("dict[str, Any]", value)))
    if isinstance(value, list) and value and not whole:
        return draw(_changed_array(cast("list[Any]", value)))
    if isinstance(value, str) and value and not whole:
        return value[:-1] + draw(st.sampled_from(["", "=", "Z", "9", "é"]))
    return draw(st.just(cast("Any", value)) | junk)


@st.composite
def _changed_object(draw: st.DrawFn, value: dict[str, Any]) -> dict[str, Any]:
    what = draw(st.sampled_from(["add", "remove", "change"])) if value else "add"
    if what == "add":
        return value | {draw(st.sampled_from(["other", "1", "01", "first"])): draw(junk)}
    chosen = draw(st.sampled_from([*value]))
    if what == "change":
        return value | {chosen: draw(_changed(value[chosen]))}
    return {name: part for name, part in value.items() if name != chosen}


@st.composite
def _changed_array(draw: st.DrawFn, value: list[Any]) -> list[Any]:
    """One part changed, with or without the next one."""
    place = draw(st.integers(0, len(value) - 1))
    return [*value[:place], draw(_changed(value[place])), *value[place + draw(st.integers(0, 2)) :]]
