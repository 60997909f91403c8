"""The contract of a codec, and which codec a content type means."""

from __future__ import annotations

from typing import Any, Protocol

from callboard.codec.json import JSON
from callboard.codec.msgpack import MSGPACK
from callboard.errors import ContentDecodeError, did_you_mean

__all__ = ["Codec", "codec_for", "register_codec"]


class Codec(Protocol):
    """Turns content into a body and back. Thread-safe, and never imports what a body names."""

    content_type: str
    """What the `Content-Type` header says, without parameters, in lower case."""

    def encode(self, content: object) -> bytes:
        """Content as bytes, or `ContentEncodeError`."""
        ...

    def decode(self, body: bytes) -> Any:
        """A body as builtins, or `ContentDecodeError`."""
        ...

    def loads(self, body: bytes, type_: Any) -> Any:
        """A body as a value of the type, or `ContentDecodeError` with the path of what does not fit."""
        ...

    def structure(self, value: Any, type_: Any) -> Any:
        """What `decode` gave as a value of the type; `ContentDecodeError` as in `loads`."""
        ...


_CODECS: dict[str, Codec] = {JSON.content_type: JSON, MSGPACK.content_type: MSGPACK}


def register_codec(codec: Codec) -> None:
    """Make a codec known in this process under its content type; an earlier one of that type is replaced."""
    _CODECS[codec.content_type.lower()] = codec


def codec_for(content_type: str | None) -> Codec:
    """The codec that a `Content-Type` header means; parameters and case do not matter, no header means JSON.

    Raises
    ------
    ContentDecodeError: nobody registered a codec for it.
    """
    if not content_type:
        return JSON
    name = content_type.partition(";")[0].strip().lower()
    codec = _CODECS.get(name)
    if codec is None:
        raise ContentDecodeError(
            f"content type {content_type!r} has no codec; known are {', '.join(sorted(_CODECS))}"
            f"{did_you_mean(name, _CODECS)}"
        )
    return codec
