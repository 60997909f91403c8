"""Rounds: in each every contender works once, and what lost or repeated something does not count."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack

from attrs import field, frozen

from benchmarks.measure import Contender, Measure, Round, Size
from benchmarks.peers import peers_python
from benchmarks.process import ContenderError, run_contender
from benchmarks.sink import Sink
from benchmarks.stage import Stage
from benchmarks.stock import flights, parcels
from benchmarks.work import Figures, Work

__all__ = ["Outcome", "Runner"]


@frozen
class Outcome:
    """All rounds of a measure."""

    measure: str
    size: Size
    rounds: list[Round] = field(factory=list[Round])
    void: list[str] = field(factory=list[str])
    """Runs that do not count, with the reason."""


class VoidError(Exception):
    """A run does not count."""


@frozen
class Runner:
    """Runs measures on a stage."""

    stage: Stage
    say: Callable[[str], None]

    async def run(self, measure: Measure, size: Size) -> Outcome:
        """All rounds; each begins with another contender, so that what the machine does meets all alike."""
        outcome = Outcome(measure.name, size)
        for number in range(size.rounds):
            found: dict[str, Figures] = {}
            for name in _rotated(list(measure.contenders), number):
                self.say(f"{measure.name}: round {number + 1} of {size.rounds}, {name}")
                try:
                    found[name] = await self.once(measure, measure.contenders[name], size)
                except (ContenderError, VoidError) as error:
                    outcome.void.append(f"round {number + 1}, {name}: {error}")
            outcome.rounds.append(found)
        return outcome

    async def once(self, measure: Measure, contender: Contender, size: Size, *, profile: str = "") -> Figures:
        """One run on a stream of its own. Raises `ContenderError` and `VoidError`."""
        messages = max(1, round(size.messages * contender.part))
        async with AsyncExitStack() as stack:
            sink = await stack.enter_async_context(Sink.open()) if contender.traced else None
            stream = await stack.enter_async_context(self.stage.stream(_waiting(measure, contender.options, messages)))
            work = Work(
                self.stage.url,
                stream,
                messages,
                contender.options,
                sink=sink.url if sink else "",
                data="" if measure.waiting else str(self.stage.lines(messages)),
            )
            python = peers_python() if contender.is_peer else sys.executable
            figures = await run_contender(contender.program, work, python=python, profile=profile)
            if sink is not None:
                figures["dropped"] = figures["spans"] - await sink.received()
            await self.check(figures, work)
            return figures

    async def check(self, figures: Figures, work: Work) -> None:
        """Each message has had its effect once, its answer, its acknowledgement. Raises `VoidError`."""
        handled = figures.get("handled")
        if handled is not None and (handled != work.messages or figures["missing"]):
            raise VoidError(f"{handled:.0f} effects of {work.messages} messages, {figures['missing']:.0f} without any")
        if handled is not None and (owed := await self.stage.unsettled(work.stream)):
            raise VoidError(owed)
        if figures.get("wrong"):
            raise VoidError(f"{figures['wrong']:.0f} answers to other questions")
        published = figures.get("acknowledged")
        if published is not None and not published == work.messages == (stored := await self.stage.stored(work.stream)):
            raise VoidError(f"{published:.0f} acknowledged, {stored} stored of {work.messages} messages")


def _rotated(names: list[str], number: int) -> list[str]:
    begin = number % len(names)
    return names[begin:] + names[:begin]


def _waiting(measure: Measure, options: Mapping[str, int | float | str], messages: int) -> Iterable[bytes]:
    match measure.waiting:
        case "flights":
            return flights(messages)
        case "parcels":
            return parcels(messages, int(options["body"]))
        case _:
            return ()
