"""What an exception that ended a child tells its supervisor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from callboard.errors import SubstrateError
from callboard.supervision.decision import Exit

__all__ = ["carrier_of", "exit_of"]


def exit_of(error: BaseException | None) -> Exit:
    """The kind of exit. A group of exceptions is an outage when nothing but outages is in it."""
    if error is None:
        return Exit.NORMAL
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return Exit.OUTAGE if group.split(SubstrateError)[1] is None else Exit.CRASH
    return Exit.OUTAGE if isinstance(error, SubstrateError) else Exit.CRASH


def carrier_of(error: BaseException | None) -> Mapping[str, str]:
    """Trace headers of the attempt that caused `error`: its attribute `carrier`, or that of what it was
    raised from. Empty when there is none."""
    while error is not None:
        carrier: object = getattr(error, "carrier", None)
        if isinstance(carrier, Mapping):
            return cast("Mapping[str, str]", carrier)
        error = error.__cause__
    return {}
