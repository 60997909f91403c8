"""`callboard dead`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from attrs import evolve, frozen

from callboard.brokers.configured import instrumentation_of, transport_of
from callboard.brokers.letter import LetterFilter, StoredLetter
from callboard.brokers.transport import BrokerTransport
from callboard.cli.argument import Nats, seconds_of
from callboard.cli.letter import everything_of, facts_of, print_json, print_letter, print_table
from callboard.cli.tracing import traced
from callboard.client import DeadLetterReplay
from callboard.config import Config
from callboard.errors import CallboardError, NoDeadLetterError, SubstrateError

__all__ = ["app"]

INCOMPLETE = 1
"""Exit code: something that was named could not be done."""

app = typer.Typer(
    name="dead",
    help="Messages that could not be handled, with the reason.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Sequences = Annotated[
    list[int] | None,
    typer.Argument(metavar="SEQ", min=1, help="Numbers of letters, as 'dead list' shows them", show_default=False),
]
Actor = Annotated[str | None, typer.Option("--actor", help="Only those of this actor")]
Error = Annotated[str | None, typer.Option("--error", metavar="TYPE", help="Only those with this error, as ValueError")]
Topic = Annotated[str | None, typer.Option("--topic", help="Only those to this topic; may have wildcards: 'orders.>'")]
Durable = Annotated[str | None, typer.Option("--durable", help="Only those of this mailbox")]
Older = Annotated[
    str | None, typer.Option("--older-than", metavar="TIME", help="Only those that died before that: 45s, 10m, 2h, 3d")
]
Newer = Annotated[
    str | None, typer.Option("--newer-than", metavar="TIME", help="Only those that died since then: 45s, 10m, 2h, 3d")
]
All = Annotated[bool, typer.Option("--all", help="All letters, or all that the filters leave")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask when no filter is given")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document a line")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, the oldest [default: no limit]")]


@app.command("list")
def list_(  # noqa: PLR0913, PLR0917 - the options of the command
    actor: Actor = None,
    error: Error = None,
    topic: Topic = None,
    durable: Durable = None,
    older_than: Older = None,
    newer_than: Newer = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the oldest")] = 100,
    json: Json = False,  # noqa: FBT002
    nats: Nats = None,
) -> None:
    """List dead letters, oldest first.

    The first column is the number that the other commands take.

    Example: callboard dead list --actor Rebooking --newer-than 2h

    Exit codes: 0 listed, 2 wrong use, 3 no server, 5 refused by the server.
    """
    wanted = _filter(actor, error, topic, durable, older_than, newer_than)
    asyncio.run(_list(wanted, limit, nats, json=json))


async def _list(wanted: LetterFilter, limit: int, nats: str | None, *, json: bool) -> None:
    shown: list[StoredLetter] = []
    count = 0
    async with _connected(nats) as transport:
        async for letter in _matching(transport, wanted, limit + 1):
            count += 1
            if count > limit:
                break
            if json:
                print_json(facts_of(letter))
            else:
                shown.append(evolve(letter, headers={}, body=b""))
    if not json:
        print_table(shown)
        plural = "" if len(shown) == 1 else "s"
        typer.echo(f"{len(shown)} dead letter{plural}{', and more: see --limit' if count > limit else ''}")


@app.command()
def show(
    seq: Annotated[int, typer.Argument(metavar="SEQ", min=1, help="Number of the letter")],
    json: Json = False,  # noqa: FBT002
    nats: Nats = None,
) -> None:
    """Show one dead letter with everything.

    Reason, traceback, headers and body; a body that is no text is shown in base64.

    Example: callboard dead show 17

    Exit codes: 0 shown, 2 wrong use, 3 no server, 5 there is no such letter.
    """
    letter = asyncio.run(_get(seq, nats))
    if json:
        print_json(everything_of(letter))
    else:
        print_letter(letter)


async def _get(sequence: int, nats: str | None) -> StoredLetter:
    async with _connected(nats) as transport:
        return await transport.dead_letters.get(sequence)


@app.command()
def replay(  # noqa: PLR0913, PLR0917 - the options of the command
    seq: Sequences = None,
    everything: All = False,  # noqa: FBT002
    actor: Actor = None,
    error: Error = None,
    topic: Topic = None,
    durable: Durable = None,
    older_than: Older = None,
    newer_than: Newer = None,
    limit: Limit = None,
    rate: Annotated[float, typer.Option("--rate", min=0.001, help="At most so many letters a second")] = 100.0,
    reply: Annotated[bool, typer.Option("--reply", help="Send replies to the original's reply topic")] = False,  # noqa: FBT002
    dry_run: DryRun = False,  # noqa: FBT002
    yes: Yes = False,  # noqa: FBT002
    nats: Nats = None,
) -> None:
    """Give messages to the mailbox that failed once more.

    They go to no other mailbox; each letter is removed then.

    Example: callboard dead replay --all --actor Rebooking --error TimeoutError

    Exit codes: 0 all done, 1 some could not be replayed, 2 wrong use, 3 no server, 4 outcome unknown (doing it again
    is safe), 5 refused by the server.
    """
    wanted = _filter(actor, error, topic, durable, older_than, newer_than)
    choice = _Choice(seq or [], wanted, limit, everything=everything)

    def action(transport: BrokerTransport) -> _Action:
        replaying = DeadLetterReplay(transport, instrumentation_of(Config(), transport), rate=rate, reply=reply)

        async def one(sequence: int) -> str:
            if dry_run:
                letter = await replaying.check(sequence)
                return f"{sequence} would be replayed to {letter.durable}"
            receipt = await replaying.replay(sequence)
            return f"{sequence} replayed: {receipt.topic} is message {receipt.sequence} of {receipt.stream}"

        return one

    with traced():
        asyncio.run(_each(choice, action, "replay", nats, yes=yes or dry_run))


@app.command()
def discard(  # noqa: PLR0913, PLR0917 - the options of the command
    seq: Sequences = None,
    everything: All = False,  # noqa: FBT002
    actor: Actor = None,
    error: Error = None,
    topic: Topic = None,
    durable: Durable = None,
    older_than: Older = None,
    newer_than: Newer = None,
    limit: Limit = None,
    dry_run: DryRun = False,  # noqa: FBT002
    yes: Yes = False,  # noqa: FBT002
    nats: Nats = None,
) -> None:
    """Remove dead letters for good.

    Example: callboard dead discard --all --older-than 30d

    Exit codes: 0 all done, 1 some were not there, 2 wrong use, 3 no server, 5 refused by the server.
    """
    wanted = _filter(actor, error, topic, durable, older_than, newer_than)
    choice = _Choice(seq or [], wanted, limit, everything=everything)

    def action(transport: BrokerTransport) -> _Action:
        async def one(sequence: int) -> str:
            if dry_run:
                letter = await transport.dead_letters.get(sequence)
                return f"{sequence} would be discarded ({letter.topic}, {letter.error_type})"
            if not await transport.dead_letters.remove(sequence):
                raise NoDeadLetterError(sequence)
            return f"{sequence} discarded"

        return one

    asyncio.run(_each(choice, action, "discard", nats, yes=yes or dry_run))


_Action = Callable[[int], Awaitable[str]]
"""Does something with one letter and says what it did."""


@frozen
class _Choice:
    """Which letters a command is about."""

    sequences: list[int]
    wanted: LetterFilter
    limit: int | None
    everything: bool

    def __attrs_post_init__(self) -> None:
        filtered = not self.wanted.is_empty or self.limit is not None
        if self.sequences and (self.everything or filtered):
            raise typer.BadParameter("give numbers, or --all with filters; not both")
        if not self.sequences and not self.everything:
            raise typer.BadParameter("which letters? give their numbers (see 'callboard dead list'), or --all")

    async def of(self, transport: BrokerTransport) -> AsyncIterator[int]:
        """Their numbers, oldest first or as they were given."""
        for sequence in self.sequences:
            yield sequence
        if self.everything:
            async for letter in _matching(transport, self.wanted, self.limit):
                yield letter.sequence

    def confirm(self, verb: str) -> None:
        """Ask when nothing narrows it down."""
        if self.everything and self.wanted.is_empty and self.limit is None:
            typer.confirm(f"{verb} all dead letters?", abort=True, err=True)


async def _each(
    choice: _Choice, action: Callable[[BrokerTransport], _Action], verb: str, nats: str | None, *, yes: bool
) -> None:
    """Do something with each letter; one that cannot be done does not keep the others from it."""
    if not yes:
        choice.confirm(verb)
    done = failed = 0
    async with _connected(nats) as transport:
        do = action(transport)
        try:
            async for sequence in choice.of(transport):
                try:
                    typer.echo(await do(sequence))
                    done += 1
                except SubstrateError:
                    raise
                except NoDeadLetterError as gone:
                    typer.echo(str(gone), err=True)
                    failed += not choice.everything  # somebody else was faster
                except CallboardError as error:
                    typer.echo(str(error), err=True)
                    failed += 1
        finally:
            typer.echo(f"{done} done, {failed} not done")
    if failed:
        raise typer.Exit(INCOMPLETE)


@asynccontextmanager
async def _connected(nats: str | None) -> AsyncGenerator[BrokerTransport]:
    async with transport_of(Config(nats=nats, name="callboard dead")) as transport:
        yield transport


async def _matching(transport: BrokerTransport, wanted: LetterFilter, limit: int | None) -> AsyncIterator[StoredLetter]:
    left = limit
    async for letter in transport.dead_letters.letters():
        if left == 0:
            return
        if wanted.matches(letter):
            left = None if left is None else left - 1
            yield letter


def _filter(
    actor: str | None,
    error: str | None,
    topic: str | None,
    durable: str | None,
    older_than: str | None,
    newer_than: str | None,
) -> LetterFilter:
    return LetterFilter(
        actor=actor,
        error=error,
        topic=topic,
        durable=durable,
        before=_ago(older_than, "--older-than"),
        after=_ago(newer_than, "--newer-than"),
    )


def _ago(text: str | None, option: str) -> datetime | None:
    return None if text is None else datetime.now(UTC) - timedelta(seconds=seconds_of(text, option))
