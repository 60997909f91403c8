"""What a handler is given, and what it may answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, overload
from uuid import UUID

from callboard.brokers.wire import uuid_header
from callboard.errors import InvalidArgumentError, NoParamsError
from callboard.message import BrokerMessage

__all__ = ["BrokerRequest", "BrokerResponse", "user_of"]

T = TypeVar("T")


class BrokerRequest:
    """A message as its handler sees it."""

    __slots__ = ("raw",)

    def __init__(self, raw: BrokerMessage) -> None:
        self.raw = raw
        """The message itself."""

    @property
    def user(self) -> UUID | None:
        """The header `user` when it is a UUID, else None."""
        return user_of(self.raw.headers)

    @property
    def headers(self) -> dict[str, str]:
        """The message's own headers."""
        return self.raw.headers

    @property
    def has_content(self) -> bool:
        """Always true: a broker message has content, even if it is None."""
        return True

    @property
    def has_params(self) -> bool:
        """Always false: only other kinds of request have URL parameters."""
        return False

    async def params(self) -> Any:
        """Raises `NoParamsError`."""
        raise NoParamsError

    @overload
    async def content(self) -> Any: ...
    @overload
    async def content(self, type_: type[T]) -> T: ...
    async def content(self, type_: Any = None) -> Any:
        """The content as plain values, or structured as `type_`. Raises `ContentDecodeError`."""
        return await self._content() if type_ is None else self.raw.content_as(type_)

    async def _content(self, **_: Any) -> Any:
        return self.raw.content

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BrokerRequest):
            return NotImplemented
        return self.raw == other.raw

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"BrokerRequest({self.raw!r})"


def user_of(headers: Mapping[str, str]) -> UUID | None:
    """The header `user` as a UUID; None when it is absent or no UUID."""
    return uuid_header(headers, "user")


class BrokerResponse:
    """An answer with a status and headers of its own. Handlers may as well return the bare content."""

    __slots__ = ("content", "headers", "status")

    def __init__(self, content: Any = None, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        if not isinstance(status, int) or isinstance(status, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(f"status must be an integer such as 200, not {status!r}")
        self.content = content
        self.status = status
        self.headers = headers
        """Added to the request's own headers on the reply."""

    @property
    def has_content(self) -> bool:
        """Whether there is anything but None."""
        return self.content is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BrokerResponse):
            return NotImplemented
        return (self.content, self.status, self.headers) == (other.content, other.status, other.headers)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"BrokerResponse({self.content!r}, status={self.status})"
