"""Messages whose worker died while it ran them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from attrs import frozen

from callboard.brokers.attempts import Past
from callboard.system.table import RunningTable

__all__ = ["Fate", "Orphan", "explained", "orphans_of"]


class Fate(StrEnum):
    """What a death says about a message that ran in the worker."""

    HUNG = "hung"
    """It ran past its hard limit, for which its worker was killed: a failed attempt."""
    SUSPECT = "suspect"
    """It ran among others, and any of them may be the cause: it comes again and runs alone."""
    CONVICTED = "convicted"
    """It ran alone: given up."""
    INNOCENT = "innocent"
    """The cause is known and is another, or it had not begun: it comes again as if nothing had happened."""


@frozen
class Orphan:
    """One message of a dead worker. Times are those of `time.monotonic`, which all processes of a machine share."""

    token: str
    """Leads to its delivery (`BrokerTransport.recover`)."""
    fate: Fate
    ran: float
    """Seconds that it ran."""
    renewed: float
    """When its worker last renewed leases."""
    past: Past | None = None
    """What its message had been through, once a worker has looked it up to settle it."""


def orphans_of(table: RunningTable, died: float, *, over_limit: bool, drained: bool) -> list[Orphan]:
    """What a dead worker left unsettled. `over_limit`: it was killed because of a hard limit; `drained`: it had ended
    its work in order, and what it left is what ignored its cancellation."""
    renewed = table.last_pulse
    orphans: list[Orphan] = []
    for row in table.rows():
        if over_limit:
            fate = Fate.HUNG if row.hard_deadline <= died else Fate.INNOCENT
        elif drained or row.held:
            fate = Fate.INNOCENT
        else:
            fate = Fate.CONVICTED if row.alone else Fate.SUSPECT
        orphans.append(Orphan(row.token, fate, died - row.begun, renewed))
    return [orphan for orphan in orphans if orphan.token]


def explained(orphans: Iterable[Orphan]) -> bool:
    """Whether a death had a cause that is now out of the way."""
    return any(orphan.fate in {Fate.HUNG, Fate.CONVICTED} for orphan in orphans)
