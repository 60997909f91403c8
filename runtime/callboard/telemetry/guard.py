"""Keeps the errors of telemetry out of the runtime."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

__all__ = ["guarded", "warn_once"]

_log = logging.getLogger("callboard.telemetry")

_Owner = TypeVar("_Owner")
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


@cache
def warn_once(operation: str) -> None:
    """Say, once in the process for each operation, that it raised what is handled now."""
    _log.warning("telemetry failed in %s; messages go on, this is not logged again", operation, exc_info=True)


def guarded(
    fallback: Callable[Concatenate[Any, _Parameters], _Result],
) -> Callable[
    [Callable[Concatenate[_Owner, _Parameters], _Result]], Callable[Concatenate[_Owner, _Parameters], _Result]
]:
    """A method that never raises: on an error it logs a warning, once in the process, and gives what
    `fallback` gives, which is the same method without telemetry."""

    def guard(
        method: Callable[Concatenate[_Owner, _Parameters], _Result],
    ) -> Callable[Concatenate[_Owner, _Parameters], _Result]:
        @wraps(method)
        def call(owner: _Owner, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            try:
                return method(owner, *args, **kwargs)
            except Exception:  # noqa: BLE001 - whatever the SDK or a plug-in raises, messages go on
                warn_once(method.__qualname__)
                return fallback(owner, *args, **kwargs)

        return call

    return guard
