"""`application/json`: bytes as base64, keys as text."""

from __future__ import annotations

import msgspec

from callboard.codec.content import ContentCodec

__all__ = ["JSON"]

JSON = ContentCodec("application/json", msgspec.json.encode, msgspec.json.decode, binary=False)
"""The default codec."""
