"""`application/msgpack`: bytes and integer keys as they are, everything else as in JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from callboard.codec.content import ContentCodec

__all__ = ["MSGPACK"]


def _refuse_extension(code: int, _: memoryview) -> Any:
    raise ValueError(f"extension type {code} is unknown; only timestamps are read")


_DECODER = msgspec.msgpack.Decoder(ext_hook=_refuse_extension)

MSGPACK = ContentCodec("application/msgpack", msgspec.msgpack.encode, _DECODER.decode, binary=True)
"""Smaller bodies, and bytes as they are; read wherever a message says so."""
