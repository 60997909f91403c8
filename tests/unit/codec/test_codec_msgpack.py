"""What other clients see and may send as `application/msgpack`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from callboard.codec import MSGPACK
from callboard.errors import ContentDecodeError


def test_bytes_and_integer_keys_are_native() -> None:
    assert msgspec.msgpack.decode(MSGPACK.encode({1: b"\x00\xff"})) == {1: b"\x00\xff"}


def test_a_native_timestamp_is_read_as_a_datetime() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    assert MSGPACK.loads(msgspec.msgpack.encode(at), datetime) == at


def test_a_datetime_is_written_as_text_as_in_json() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)

    assert MSGPACK.decode(MSGPACK.encode(at)) == "2026-01-02T00:00:00+00:00"


def test_a_text_is_no_bytes() -> None:
    with pytest.raises(ContentDecodeError, match="expected bytes, got str 'AP8='"):
        MSGPACK.loads(MSGPACK.encode("AP8="), bytes)


def test_an_unknown_extension_is_refused() -> None:
    with pytest.raises(ContentDecodeError, match="extension type 1 is unknown"):
        MSGPACK.decode(b"\xc7\x03\x01abc")


@pytest.mark.parametrize("type_", [float, Any])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(number: float, type_: Any) -> None:
    with pytest.raises(ContentDecodeError, match="no number"):
        MSGPACK.loads(msgspec.msgpack.encode(number), type_)
