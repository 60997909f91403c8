"""What other clients see and may send as `application/json`."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from attrs import frozen

from callboard.codec import JSON
from callboard.errors import ContentDecodeError


@frozen
class Photo:
    data: bytes
    owner: UUID
    at: datetime
    rows: dict[int, str]


def test_the_body_is_plain_json_that_any_client_can_write() -> None:
    photo = Photo(b"\x00\xff", UUID(int=7), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), {1: "a"})

    assert JSON.encode(photo) == (
        b'{"data":"AP8=","owner":"00000000-0000-0000-0000-000000000007",'
        b'"at":"2026-01-02T03:04:05+00:00","rows":{"1":"a"}}'
    )


def test_timestamps_of_other_languages_are_read() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 123457, tzinfo=UTC)

    assert JSON.loads(b'"2026-01-02T03:04:05.123456789Z"', datetime) == at


@pytest.mark.parametrize("text", [b'"AP8"', b'"A!P8="', b'"_-8="'])
def test_a_text_that_is_not_base64_is_no_bytes(text: bytes) -> None:
    with pytest.raises(ContentDecodeError, match="expected bytes"):
        JSON.loads(text, bytes)


@pytest.mark.parametrize("body", [b"{", b"NaN", b"Infinity", b"[1e999]", b"'a'", b"[1,]", b"\xff", b"1" * 5000])
def test_malformed_json_is_refused(body: bytes) -> None:
    with pytest.raises(ContentDecodeError):
        JSON.decode(body)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_an_integer_beyond_64_bits_is_refused(number: int) -> None:
    with pytest.raises(ContentDecodeError, match=f"expected an integer from .* got int {number}"):
        JSON.loads(str(number).encode(), int)


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63)])
def test_the_greatest_and_the_smallest_integer_are_carried(number: int) -> None:
    assert JSON.loads(JSON.encode(number), int) == number
