"""How the server differs from what the code declares."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from attrs import frozen

from callboard.errors import TopologyError

__all__ = ["SEE", "Difference", "Remedy", "refuse"]

SEE = "run 'callboard topology plan'"


class Remedy(StrEnum):
    """What can be done about a difference."""

    CREATE = "create"
    """Missing: it is created."""
    CHANGE = "change"
    """The field is written."""
    PRUNE = "prune"
    """Nothing declares the durable any more: it stays until somebody says otherwise."""
    REFUSE = "refuse"
    """It cannot be changed, or must not be; the note says what a person can do."""


@frozen
class Difference:
    """One field, or one object that is missing or left over. Durations are seconds."""

    remedy: Remedy
    kind: str
    """`stream` or `durable`."""
    name: str
    stream: str
    """Of a durable; of a stream its own name."""
    field: str = ""
    """Empty when it is about the whole object."""
    server: Any = None
    code: Any = None
    note: str = ""
    """What else there is to know: how many messages wait, why it cannot be changed, the way out."""
    error: TopologyError | None = None
    """What a start fails with, when there is a more exact error than one of this text."""

    @property
    def what(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name!r}"

    @property
    def blocks(self) -> bool:
        """Whether nobody can work while it is so."""
        return self.remedy in {Remedy.CREATE, Remedy.REFUSE}

    @property
    def rule(self) -> str:
        """What is wrong with it."""
        if self.field:
            text = f"exists with {self.field}={self.server!r}, the code says {self.code!r}"
        elif self.remedy is Remedy.CREATE:
            text = "is missing"
        elif self.remedy is Remedy.PRUNE:
            text = f"of stream {self.stream!r} is declared by nothing any more"
        else:
            return self.note
        return f"{text}; {self.note}" if self.note else text

    def __str__(self) -> str:
        return f"{self.what} {self.rule}"


def refuse(differences: Iterable[Difference], why: str = "") -> None:
    """Raise one error for all of them; nothing when there are none.

    `why` says why what could be changed is not. The error of a stream that was lost is stronger than others.
    """
    found = list(differences)
    if not found:
        return
    for difference in found:
        if difference.error is not None:
            raise difference.error
    if len(found) == 1:
        raise TopologyError(found[0].what, f"{found[0].rule}{why}; {SEE}")
    raise TopologyError("the server differs from the code", f"{'; '.join(map(str, found))}{why}; {SEE}")
