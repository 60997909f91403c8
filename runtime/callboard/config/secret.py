"""Values that nobody may see."""

from __future__ import annotations

from typing import Any

from typed_settings.types import SecretRepr

__all__ = ["UrlRepr", "secret_free"]


def secret_free(url: str) -> str:
    """An address without user, password, token and query, whatever characters these contain."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"


class UrlRepr(SecretRepr):
    """Shows addresses, one or several, without their secrets; errors do not show them at all."""

    def __call__(self, v: Any) -> str:
        return repr(secret_free(v) if isinstance(v, str) else tuple(map(secret_free, v)))
