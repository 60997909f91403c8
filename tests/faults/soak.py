"""Faults at random, for as long as somebody likes: `python -m tests.faults.soak --seed 7 --minutes 60`.

Two workers handle what four publishers send, while the server is killed and frozen, workers are killed, the service is
deployed again and its consumer is deleted. At the end everything is compared: the exit code is 1 when anything that was
acknowledged is lost, or stored twice. The same seed makes the same choices; what they meet depends on the machine.
"""

# ruff: noqa: T201, S311 - a program, and its dice

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import nats
from attrs import define, field

from callboard.client import Board
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from tests.cli.command import CommandLine, Running, command_line
from tests.faults.audit import Audit, longest_gap, read_letters
from tests.jetstream.eventually import eventually

__all__ = ["Soak"]

SERVICE = '''
import os
from time import monotonic
from callboard import Actor, event


class Ledger(Actor):
    """Each event becomes a line that survives the process."""

    concurrency = 8
    ack_wait = 5.0

    async def on_start(self) -> None:
        self.file = os.open("ledger.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    async def on_stop(self) -> None:
        os.close(self.file)

    @event("sales.made")
    async def enter(self, number: int) -> None:
        os.write(self.file, b"%d %f\\n" % (number, monotonic()))
'''
WORKERS = 2
RECOVERS = 90.0
"""Seconds after a fault until something published after it must be handled."""
SETTLES = 120.0
"""Seconds at the end for everything that still waits."""


@define(eq=False)
class Soak:
    """One run."""

    random: random.Random
    server: EmbeddedServer
    command: CommandLine
    audit: Audit
    running: list[Running] = field(init=False, factory=list[Running])
    """The supervisor that runs now."""
    faults: Counter[str] = field(init=False, factory=Counter[str])
    recoveries: list[float] = field(init=False, factory=list[float])

    async def run(self, seconds: float) -> None:
        """Hurt the service at random, then wait until it has done what it was given."""
        until = monotonic() + seconds
        await self._deploy()
        async with JetStreamTransport(ConnectionOptions((self.server.url,))) as transport:
            board = Board(transport)
            async with self.audit.load(board, publishers=4, pause=0.05):
                while monotonic() < until:
                    await asyncio.sleep(self.random.uniform(0.2, 3.0))
                    await self._hurt()
        await self._settle()
        self.running[0].signal(signal.SIGTERM)
        await self.running[0].ended()

    async def _hurt(self) -> None:
        fault = self.random.choice(self._choices)
        name = fault.__name__.strip("_").replace("_", " ")
        await fault()
        self.faults[name] += 1
        begun, last = monotonic(), max(self.audit.done, default=0)
        await eventually(lambda: self._handled_after(last), within=RECOVERS)
        self.recoveries.append(monotonic() - begun)
        print(f"{name}: recovered after {self.recoveries[-1]:.1f} s; {len(self.audit.done)} acknowledged", flush=True)

    @property
    def _choices(self) -> list[Callable[[], Awaitable[None]]]:
        return [self._server_kill, self._server_freeze, self._worker_kill, self._new_deploy, self._consumer_deletion]

    async def _server_kill(self) -> None:
        self.server.kill()
        await asyncio.sleep(self.random.uniform(0, 2))
        await self.server.restart()

    async def _server_freeze(self) -> None:
        self.server.pause()
        await asyncio.sleep(self.random.uniform(0.5, 10))
        self.server.resume()

    async def _worker_kill(self) -> None:
        await eventually(lambda: bool(self._workers()), within=RECOVERS)
        os.kill(self.random.choice(self._workers()), signal.SIGKILL)

    async def _new_deploy(self) -> None:
        self.running[0].signal(signal.SIGTERM)
        await self.running.pop().ended()
        await self._deploy()

    async def _consumer_deletion(self) -> None:
        async with await nats.connect(self.server.url) as client:  # pyright: ignore[reportUnknownMemberType]
            js = client.jetstream()  # pyright: ignore[reportUnknownMemberType]
            for consumer in await js.consumers_info(self.audit.stream):
                await js.delete_consumer(self.audit.stream, consumer.name)

    async def _deploy(self) -> None:
        self.running.append(await self.command.run("svc", "--workers", str(WORKERS), "--grace", "5"))
        await self.running[0].worker(WORKERS)

    def _workers(self) -> list[int]:
        """Processes of the workers that live."""
        pids = (int(text.split(")")[0]) for text in self.running[0].text.split("worker ready (pid ")[1:])
        return [pid for pid in pids if _alive(pid)]

    def _handled_after(self, number: int) -> bool:
        self._read()
        return any(effect.number > number for effect in self.audit.effects[-200:])

    def _read(self) -> None:
        self.audit.read_effects(self.command.folder / "ledger.txt")

    async def _settle(self) -> None:
        """Wait until everything acknowledged was handled or dead-lettered; `check` says what was not."""

        async def settled() -> bool:
            self._read()
            if not (missing := self.audit.missing):
                return True
            return missing <= {letter.number for letter in await read_letters(self.server.url)}

        try:
            await eventually(settled, within=SETTLES)
        except TimeoutError:
            print("not everything was handled in time", flush=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def soak(seed: int, minutes: float) -> int:
    """The exit code."""
    print(f"seed {seed}, {minutes:g} minutes", flush=True)
    with TemporaryDirectory(prefix="callboard-soak-") as name:
        async with (
            EmbeddedServer(store=Path(name) / "nats", port=0) as server,
            command_line(Path(name) / "project", SERVICE) as command,
        ):
            command.environment["NATS_URL"] = server.url
            run = Soak(random.Random(seed), server, command, Audit("sales.made", "SALES"))
            try:
                await run.run(minutes * 60)
                found = await run.audit.check(server.url)
            except (AssertionError, TimeoutError, BaseExceptionGroup) as problem:
                print(f"FAILED with seed {seed}: {problem!r}\n{run.running[0].text[-5000:]}", flush=True)
                return 1
    print(", ".join(f"{count} x {fault}" for fault, count in run.faults.items()))
    print(", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in found.items()))
    print(f"longest recovery {max(run.recoveries, default=0):.1f} s, ", end="")
    print(f"longest gap without an acknowledgement {longest_gap(run.audit.done.values()):.1f} s")
    return 0


def main() -> int:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="default: a new one")
    parser.add_argument("--minutes", type=float, default=10.0, help="default: 10")
    arguments = parser.parse_args()
    return asyncio.run(soak(arguments.seed, arguments.minutes))


if __name__ == "__main__":
    sys.exit(main())
