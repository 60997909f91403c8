"""Where a trace can be looked at."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["JAEGER_URL", "trace_address"]

JAEGER_URL: Final = "CALLBOARD_JAEGER_URL"
"""The variable with the address of Jaeger's pages, such as `http://127.0.0.1:16686`."""


def trace_address(trace_id: str) -> str:
    """The page of a trace (32 hexadecimal digits); empty where the environment does not say where Jaeger is."""
    base = os.environ.get(JAEGER_URL, "").strip().rstrip("/")
    return f"{base}/trace/{trace_id}" if base else ""
