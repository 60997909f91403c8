"""Compares what publishers were told with what the stream holds, what handlers did, and what was dead-lettered."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import nats
from attrs import define, field, frozen
from nats.js.api import DeliverPolicy

from callboard.brokers.deadletter import DEAD_STREAM
from callboard.brokers.wire import IDENTIFIER
from callboard.client import Board
from callboard.errors import PublishRefusedError, SubstrateError
from tests.jetstream.eventually import eventually

__all__ = ["Audit", "Effect", "Letter", "longest_gap", "read_letters", "read_stream"]

READ_TIMEOUT = 10.0
NUMBERS = 2**64
"""Identifiers from here on are no numbers of an audit."""


@frozen
class Effect:
    """A handler did its work for a message."""

    number: int
    at: float
    """By `time.monotonic()`, which all processes of a machine share."""


@frozen
class Letter:
    """A dead letter."""

    number: int | None
    """Of the message; None for one that no audit published."""
    reason: str
    attempts: int
    body: bytes
    headers: dict[str, str]


@define(eq=False)
class Audit:
    """Publishes numbered messages, keeps what became of each, and compares.

    Message n has the content n and the identifier `UUID(int=n)`. Handlers in this process call `effect`; others append
    lines `number time.monotonic()` to a file, which `read_effects` takes in.
    """

    topic: str
    stream: str
    done: dict[int, float] = field(init=False, factory=dict[int, float])
    """When the publish of each message was acknowledged."""
    refused: dict[int, str] = field(init=False, factory=dict[int, str])
    unknown: dict[int, str] = field(init=False, factory=dict[int, str])
    effects: list[Effect] = field(init=False, factory=list[Effect])
    _position: int = field(init=False, default=0)
    """How far the file of effects was read."""
    _numbers: itertools.count[int] = field(init=False, factory=lambda: itertools.count(1))

    # While it runs

    async def publish(self, board: Board) -> int:
        """Publish the next message once, and note what came of it; its number."""
        number = next(self._numbers)
        try:
            await board.publish(self.topic, number, identifier=UUID(int=number))
        except PublishRefusedError as error:
            self.refused[number] = str(error)
        except SubstrateError as error:
            self.unknown[number] = str(error)
        else:
            self.done[number] = time.monotonic()
        return number

    @asynccontextmanager
    async def load(self, board: Board, *, publishers: int = 8, pause: float = 0.01) -> AsyncGenerator[None]:
        """Publish all the time inside the block, each publisher with a pause after each message. Leaving waits until
        each knows what came of its last one."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(publishers):
                group.create_task(self._publish_until(over, board, pause))
            try:
                yield
            finally:
                over.set()

    async def _publish_until(self, over: asyncio.Event, board: Board, pause: float) -> None:
        while not over.is_set():
            await self.publish(board)
            await asyncio.sleep(pause)

    def effect(self, number: int) -> None:
        """A handler's work for a message, now."""
        self.effects.append(Effect(number, time.monotonic()))

    def read_effects(self, file: Path) -> None:
        """Take in what other processes added to their file since the last time."""
        if not file.exists():
            return
        with file.open("rb") as stream:
            stream.seek(self._position)
            lines, _, _ = stream.read().rpartition(b"\n")
        if lines:
            self._position += len(lines) + 1
            self.effects += [Effect(int(number), float(at)) for number, at in map(bytes.split, lines.split(b"\n"))]

    # Afterwards

    @property
    def missing(self) -> set[int]:
        """Acknowledged and not handled."""
        return set(self.done).difference(effect.number for effect in self.effects)

    @property
    def longest_delay(self) -> float:
        """Seconds from the acknowledgement of a message to its first effect, of the slowest one."""
        first: dict[int, float] = {}
        for effect in self.effects:
            first.setdefault(effect.number, effect.at)
        return max((first[number] - at for number, at in self.done.items() if number in first), default=0.0)

    async def all_handled(self, *, within: float = 30.0) -> None:
        """Return once every acknowledged message has an effect in this process; goes on after that time."""
        try:
            await eventually(lambda: not self.missing, within=within)
        except TimeoutError:
            return  # `check` says which

    async def check(self, nats_url: str) -> dict[str, int]:
        """Compare with what the server holds; returns the figures. Raises `AssertionError` with all contradictions.

        Every acknowledged message is stored once and was handled or dead-lettered with a reason; what was refused is
        not stored; nothing was handled that is not stored.
        """
        stored = Counter(self._number(headers) for _, headers in await read_stream(nats_url, self.stream))
        letters = [letter for letter in await read_letters(nats_url) if letter.number is not None]
        runs = Counter(effect.number for effect in self.effects)
        done, handled, buried = set(self.done), set(runs), {letter.number for letter in letters}
        problems = {
            "acknowledged and lost": done - handled - buried,
            "acknowledged and not stored": done - set(stored),
            "stored twice": _repeated(stored),
            "refused and stored all the same": set(self.refused) & set(stored),
            "handled and not stored": handled - set(stored),
            "dead-lettered without a reason": {letter.number for letter in letters if not letter.reason},
            "dead-lettered twice": {
                number for number, count in Counter(x.number for x in letters).items() if count > 1
            },
        }
        found = {problem: sorted(map(str, numbers))[:10] for problem, numbers in problems.items() if numbers}
        assert not found, f"{found}; {len(done)} were acknowledged"
        return {
            "acknowledged": len(done),
            "lost": 0,
            "stored_twice": 0,
            "refused": len(self.refused),
            "unknown": len(self.unknown),
            "run_again": runs.total() - len(runs),
            "dead_letters": len(letters),
        }

    @staticmethod
    def _number(headers: dict[str, str]) -> int:
        return UUID(headers[IDENTIFIER]).int


def _repeated(counts: Counter[Any]) -> set[Any]:
    return {number for number, count in counts.items() if count > 1}


def longest_gap(times: Iterable[float]) -> float:
    """Seconds between the two neighbours that are farthest apart."""
    return max((later - earlier for earlier, later in pairwise(sorted(times))), default=0.0)


async def read_stream(nats_url: str, stream: str) -> list[tuple[bytes, dict[str, str]]]:
    """Body and headers of everything that a stream holds, in its order, over a fresh connection."""
    async with await nats.connect(nats_url.split(","), allow_reconnect=False) as client:
        js = client.jetstream(timeout=READ_TIMEOUT)
        if not (await js.stream_info(stream)).state.messages:
            return []
        found: list[tuple[bytes, dict[str, str]]] = []
        subscription = await js.subscribe(">", stream=stream, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL)
        while True:
            message: Any = await subscription.next_msg(timeout=READ_TIMEOUT)
            found.append((message.data, dict(message.headers or {})))
            if not message.metadata.num_pending:
                return found


async def read_letters(nats_url: str) -> list[Letter]:
    """All dead letters, in order."""
    return [_letter(body, headers) for body, headers in await read_stream(nats_url, DEAD_STREAM)]


def _letter(body: bytes, headers: dict[str, str]) -> Letter:
    number = UUID(headers.get("Callboard-Dead-Id") or headers[f"Callboard-Origin-{IDENTIFIER}"]).int
    return Letter(
        number=number if number < NUMBERS else None,
        reason=headers.get("Callboard-Dead-Error-Type", ""),
        attempts=int(headers.get("Callboard-Dead-Attempts", "0")),
        body=body,
        headers=headers,
    )
