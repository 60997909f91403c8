"""What a handler's parameters want, worked out once when it is declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast, get_type_hints

from attrs import frozen

from callboard.codec import Codec, check_type
from callboard.errors import CallboardError, DeclarationError
from callboard.message import BrokerMessage
from callboard.routing.request import BrokerRequest

__all__ = ["HandlerSignature"]


@frozen
class HandlerSignature:
    """How a message becomes the arguments of one handler.

    A parameter annotated `BrokerRequest` (or a single one without annotation) gets the request, parameters named
    like a capture get the captured token, and at most one further parameter gets the whole content in the type
    of its annotation.
    """

    request: str | None
    content: str | None
    content_type: Any
    captures: tuple[str, ...]
    returns: Any = Any
    """The annotation of what it returns, as it stands: only descriptions of the handler look at it."""

    @classmethod
    def of(
        cls, function: Callable[..., Any], captures: tuple[str, ...], where: str, *, bound: bool
    ) -> HandlerSignature:
        """Raises `DeclarationError` when the parameters cannot be filled. `bound` says that the first one is
        `self`."""
        parameters = list(inspect.signature(function).parameters.values())[1 if bound else 0 :]
        hints = _hints(function, where)
        request = _annotated_request(where, hints)
        content: str | None = None
        taken: list[str] = []
        for parameter in parameters:
            name = parameter.name
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
                raise DeclarationError(
                    where, f"parameter {name!r} must be an ordinary one; messages fill parameters by name"
                )
            if name in captures:
                _check_capture(where, name, hints.get(name, str))
                taken.append(name)
            elif name == request or (name not in hints and request is None):
                request = name
            elif parameter.default is not parameter.empty:
                continue
            elif content is None:
                content = name
            else:
                raise DeclarationError(
                    where,
                    f"both {content!r} and {name!r} would get the content; captures of the topic are {list(captures)}",
                )
        if missing := [name for name in captures if name not in taken]:
            raise DeclarationError(where, f"captures {missing[0]!r}, which no parameter takes; write '*' to ignore it")
        content_type = _checked_content(where, content, hints)
        return cls(request, content, content_type, tuple(taken), hints.get("return", Any))

    def arguments(
        self, message: BrokerMessage, captured: Mapping[str, str], request: BrokerRequest | None = None
    ) -> dict[str, Any]:
        """Keyword arguments for one call; `request` is the message's, where it was made already. Raises
        `ContentDecodeError`."""
        arguments: dict[str, Any] = {}
        if self.content is not None:
            arguments[self.content] = message.content_as(self.content_type)
        if self.request is not None:
            arguments[self.request] = BrokerRequest(message) if request is None else request
        for name in self.captures:
            arguments[name] = captured[name]
        return arguments

    def direct_arguments(self, codec: Codec, body: bytes, captured: Mapping[str, str]) -> dict[str, Any]:
        """The same for a handler that wants no request, straight from the bytes."""
        arguments: dict[str, Any] = {name: captured[name] for name in self.captures}
        if self.content is not None:
            type_ = self.content_type
            arguments[self.content] = codec.loads(body, type_) if body else codec.structure(None, type_)
        return arguments


def _hints(function: Callable[..., Any], where: str) -> dict[str, Any]:
    while isinstance(function, partial):
        function = cast("partial[Any]", function).func
    if not inspect.isroutine(function):
        function = type(function).__call__
    try:
        return get_type_hints(function)
    except NameError as error:
        raise DeclarationError(
            where,
            f"annotation {error.name!r} is not known where the handler is declared; define or import it above",
        ) from error


def _annotated_request(where: str, hints: Mapping[str, Any]) -> str | None:
    """The parameter annotated `BrokerRequest`, wherever it stands."""
    names = [name for name, hint in hints.items() if hint is BrokerRequest and name != "return"]
    if len(names) > 1:
        raise DeclarationError(where, f"both {names[0]!r} and {names[1]!r} would get the request; one is enough")
    return names[0] if names else None


def _check_capture(where: str, name: str, hint: Any) -> None:
    if hint is not str:
        raise DeclarationError(where, f"parameter {name!r} gets a token of the topic; annotate it as str")


def _checked_content(where: str, name: str | None, hints: Mapping[str, Any]) -> Any:
    if name is None:
        return Any
    type_ = hints.get(name, Any)
    try:
        check_type(type_)
    except CallboardError as error:
        raise DeclarationError(where, f"parameter {name!r}: {error}") from error
    return type_
