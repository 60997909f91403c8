"""Which entries may be claimed, and how they are.

An entry is ready, claimed (it has an owner) or delayed (it has a due time). The ready ones that come first are the
window. In it an entry is free when nobody else has claimed any of its key, and nothing of its key is held back before
it. Then whoever gets the locks on the heads, the first entry of each free key, takes what is free of these keys.

All of it reads as many rows as are claimed, however many wait: a window whose entries are all taken by others or held
back is left behind by walking over the keys, not over the entries.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeAlias

from attrs import frozen
from sqlalchemy import BindParameter, ColumnElement, FromClause, and_, bindparam, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import true

from callboard.brokers.queue.queue import QueueEntry
from callboard.database.entry import entry_of
from callboard.database.schema import QUEUE, among, now, numbers

__all__ = ["FREE_DEAD", "STILL_READY", "Claim", "Look", "look", "take"]

KEYS = 1000
"""Free keys among which the oldest is looked for once a whole window is taken."""

Lock: TypeAlias = Callable[[AsyncConnection, Collection[int]], Awaitable[Collection[int]]]
"""Locks those of the entries that nobody else has locked; returns them."""

_queue: BindParameter[str] = bindparam("queue_name")
_claimant: BindParameter[int] = bindparam("claimant")
_READY = and_(QUEUE.c.queue == _queue, QUEUE.c.owner.is_(None), QUEUE.c.due.is_(None))
STILL_READY = func.coalesce(QUEUE.c.owner, QUEUE.c.due).is_(None)
"""For entries that are named by number. In words that fit no index of ready ones: planners without fresh statistics
would take that one and read it all (measured with PostgreSQL 18 and SQLite 3.40)."""
_DELAYED = and_(QUEUE.c.queue == _queue, QUEUE.c.due.is_not(None))


def _free(entry: FromClause) -> ColumnElement[bool]:
    """Nobody else has claimed any of its key, no earlier one is delayed, and we have no later one."""
    busy = QUEUE.alias("busy")
    return ~exists().where(
        busy.c.queue == _queue,
        busy.c.key == entry.c.key,
        or_(busy.c.owner.is_not(None), busy.c.due.is_not(None)),  # the words of the index
        or_(
            busy.c.owner != _claimant,
            and_(busy.c.owner == _claimant, busy.c.number > entry.c.number),
            and_(busy.c.due.is_not(None), busy.c.number < entry.c.number),
        ),
    )


def _leading(entry: FromClause) -> ColumnElement[bool]:
    """No ready one of its key stands before the window."""
    before = QUEUE.alias("before")
    return ~exists().where(
        before.c.queue == _queue,
        before.c.key == entry.c.key,
        before.c.owner.is_(None),
        before.c.due.is_(None),
        before.c.number < bindparam("start"),
    )


_LOOK = select(
    select(QUEUE.c.number).where(_READY).limit(1).scalar_subquery().is_not(None).label("ready"),
    (select(func.min(QUEUE.c.due)).where(_DELAYED).scalar_subquery() - now()).label("wait"),
)

_due = (
    select(QUEUE.c.number)
    .where(_DELAYED, QUEUE.c.due <= now())
    .order_by(QUEUE.c.due)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_PROMOTE = update(QUEUE).where(QUEUE.c.number.in_(_due)).values(due=None)

_window = (
    select(QUEUE.c.number, QUEUE.c.key)
    .where(_READY, QUEUE.c.number >= bindparam("start"))
    .order_by(QUEUE.c.number)
    .limit(bindparam("count"))
    .subquery("waiting")
)
_WINDOW = select(_window.c.number, _window.c.key, and_(_free(_window), _leading(_window)).label("free")).order_by(
    _window.c.number
)

_keys = select(func.min(QUEUE.c.key).label("key")).where(_READY).cte("keys", recursive=True)
_keys = _keys.union_all(
    select(select(func.min(QUEUE.c.key)).where(_READY, QUEUE.c.key > _keys.c.key).scalar_subquery()).where(
        _keys.c.key.is_not(None)
    )
)
_heads = (
    select(
        _keys.c.key,
        select(func.min(QUEUE.c.number)).where(_READY, QUEUE.c.key == _keys.c.key).scalar_subquery().label("number"),
    )
    .where(_keys.c.key.is_not(None))
    .subquery("heads")
)
_some_heads = select(_heads.c.number).where(_free(_heads)).limit(KEYS).subquery("some")
# Ordered by the key, which is null, so that the index with the key serves, not the one without it.
_keyless = select(QUEUE.c.number).where(_READY, QUEUE.c.key.is_(None)).order_by(QUEUE.c.key, QUEUE.c.number).limit(1)
_FIRST_FREE = select(
    select(func.min(_some_heads.c.number)).scalar_subquery(),
    _keyless.scalar_subquery(),
)

_TAKE = (
    update(QUEUE)
    .where(among(QUEUE.c.number, numbers("numbers")), STILL_READY, _free(QUEUE))
    .values(owner=_claimant, delivered=QUEUE.c.delivered + 1)
    .returning(*QUEUE.c)
)

_owners = (
    select(QUEUE.c.owner)
    .where(QUEUE.c.queue == _queue, QUEUE.c.owner.is_not(None), QUEUE.c.owner != _claimant)
    .distinct()
    .subquery("owners")
)
_dead = select(_owners.c.owner).where(func.pg_try_advisory_xact_lock(_owners.c.owner) == true()).cte("dead")
FREE_DEAD = (
    update(QUEUE)
    .where(QUEUE.c.queue == _queue, QUEUE.c.owner == _dead.c.owner)
    .values(owner=None)
    .returning(QUEUE.c.number)
)
"""PostgreSQL: free what claimants had whose lock nobody holds any more."""


@frozen
class Look:
    """What a glance at a queue shows."""

    ready: bool
    """Something is ready that the last claim may not have seen; whether it is free is another question."""
    wait: float
    """Seconds until the next delayed entry is due; infinite without one."""

    @property
    def promising(self) -> bool:
        """Whether claiming may give something."""
        return self.ready or self.wait <= 0


@frozen
class Claim:
    """What a claim brought."""

    entries: Sequence[QueueEntry]
    """In order."""
    more: bool
    """There may be more at once: another claimant was just choosing, or the whole window was taken."""


@frozen
class _Waiting:
    """A ready entry."""

    number: int
    key: str | None
    free: bool


async def look(connection: AsyncConnection, queue: str) -> Look:
    """See whether there is anything, without claiming it."""
    ready, wait = (await connection.execute(_LOOK, {"queue_name": queue})).one()
    return Look(bool(ready), float("inf") if wait is None else float(wait))


async def take(connection: AsyncConnection, queue: str, *, owner: int, count: int, lock: Lock) -> Claim:
    """Claim up to `count` entries for `owner`, in order. The connection is in a transaction for writing."""
    parameters = {"queue_name": queue, "claimant": owner, "count": count}
    await connection.execute(_PROMOTE, parameters)
    window = await _window_of(connection, parameters)
    free = [row for row in window if row.free]
    heads = {_line(row): row.number for row in reversed(free)}
    locked = frozenset(await lock(connection, heads.values())) if heads else frozenset[int]()
    chosen = [row.number for row in free if heads[_line(row)] in locked]
    entries = await _taken(connection, parameters | {"numbers": chosen}) if chosen else ()
    return Claim(entries, more=len(window) == count or len(locked) < len(heads))


async def _taken(connection: AsyncConnection, parameters: dict[str, Any]) -> Sequence[QueueEntry]:
    rows = (await connection.execute(_TAKE, parameters)).mappings()
    return sorted((entry_of(row) for row in rows), key=lambda entry: entry.number)


def _line(row: _Waiting) -> str | int:
    """What an entry queues up in: its key, or nothing but itself."""
    return row.number if row.key is None else row.key


async def _window_of(connection: AsyncConnection, parameters: dict[str, Any]) -> Sequence[_Waiting]:
    """The first ready entries, or, when none of a full window is free, those from the first free one on."""
    window = await _window_from(0, connection, parameters)
    if len(window) < parameters["count"] or any(row.free for row in window):
        return window
    first = [number for number in (await connection.execute(_FIRST_FREE, parameters)).one() if number is not None]
    if not first:
        return ()
    return await _window_from(min(first), connection, parameters)


async def _window_from(start: int, connection: AsyncConnection, parameters: dict[str, Any]) -> Sequence[_Waiting]:
    rows = await connection.execute(_WINDOW, parameters | {"start": start})
    return [_Waiting(number, key, bool(free)) for number, key, free in rows]
