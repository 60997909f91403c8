"""Which codec a content type means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from callboard.codec import JSON, MSGPACK, Codec, codec_for, register_codec
from callboard.codec import codec as registry
from callboard.errors import ContentDecodeError


class Text:
    """A codec for texts alone."""

    content_type = "text/Plain"

    def encode(self, content: object) -> bytes:
        return str(content).encode()

    def decode(self, body: bytes) -> Any:
        return body.decode()

    def loads(self, body: bytes, type_: Any) -> Any:
        return self.structure(self.decode(body), type_)

    def structure(self, value: Any, type_: Any) -> Any:
        return type_(value)


@pytest.fixture
def text() -> Iterator[Text]:
    codec = Text()
    register_codec(codec)
    yield codec
    registry._CODECS.pop("text/plain")  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("content_type", "codec"),
    [
        (None, JSON),
        ("", JSON),
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        (" application/msgpack ", MSGPACK),
    ],
)
def test_a_content_type_finds_its_codec(content_type: str | None, codec: Codec) -> None:
    assert codec_for(content_type) is codec


def test_an_unknown_content_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ContentDecodeError) as caught:
        codec_for("application/msgpak")

    assert str(caught.value).endswith(
        "content type 'application/msgpak' has no codec; known are application/json, application/msgpack; "
        "did you mean 'application/msgpack'?"
    )


def test_a_registered_codec_is_found_in_any_case(text: Text) -> None:
    assert codec_for("text/plain; charset=utf-8") is text
