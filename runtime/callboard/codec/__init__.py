"""Content as bytes and back: strict, without imports from the wire, with the path of what does not fit."""

from __future__ import annotations

from callboard.codec.codec import Codec, codec_for, register_codec
from callboard.codec.declaration import check_type
from callboard.codec.json import JSON
from callboard.codec.msgpack import MSGPACK

__all__ = ["JSON", "MSGPACK", "Codec", "check_type", "codec_for", "register_codec"]
