"""The benchmark suite: `make bench`, `make bench ARGS=--quick`, `make bench ARGS="--only drain,request"`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from attrs import evolve
from rich.console import Console

from benchmarks.environment import environment
from benchmarks.measure import Measure
from benchmarks.measures import MEASURES
from benchmarks.page import write_page
from benchmarks.process import ROOT
from benchmarks.result import Results
from benchmarks.runner import Runner
from benchmarks.stage import open_stage
from benchmarks.table import print_outcome
from callboard.errors import did_you_mean

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results"

console = Console()


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: under 3 minutes, rough figures.")] = False,
    only: Annotated[str, typer.Option("--only", metavar="NAMES", help=f"Of {', '.join(MEASURES)}.")] = "",
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="Only show where Callboard's time goes in this measure.")
    ] = "",
    of: Annotated[str, typer.Option("--of", metavar="CONTENDER", help="Whose profile.")] = "callboard",
    rounds: Annotated[int, typer.Option("--rounds", min=0, help="Rounds of each measure [default: its own].")] = 0,
) -> None:
    """Measure, print, and keep all rounds in benchmarks/results; a full run of everything writes docs/benchmarks.md."""
    if profile:
        asyncio.run(_profile(_measure(profile), of, quick=quick))
        return
    results = Results(environment(), quick=quick)
    asyncio.run(_run(results, [_measure(name) for name in only.split(",") if name] or list(MEASURES.values()), rounds))
    target = _keep(results)
    if not quick and not only:
        console.print(f"the page: {write_page([results]).relative_to(ROOT)}")
    else:
        console.print(f"as the page: python -m benchmarks.page {target.relative_to(ROOT)}")


def _keep(results: Results) -> Path:
    target = RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    results.write(target)
    console.print(f"\nall rounds: {target.relative_to(ROOT)}")
    return target


async def _run(results: Results, measures: list[Measure], rounds: int) -> None:
    async with open_stage() as stage:
        for measure in measures:
            size = measure.quick if results.quick else measure.full
            with console.status("") as status:
                runner = Runner(stage, status.update)
                outcome = await runner.run(measure, evolve(size, rounds=rounds or size.rounds))
            results.outcomes.append(outcome)
            print_outcome(console, measure, outcome)


async def _profile(measure: Measure, name: str, *, quick: bool) -> None:
    contender = measure.contenders.get(name)
    if contender is None or contender.is_peer:
        raise typer.BadParameter(f"no contender {name!r} of ours in {measure.name!r}")
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"profile-{measure.name}-{name.replace(' ', '-')}"
    async with open_stage() as stage:
        runner = Runner(stage, lambda _: None)
        figures = await runner.once(measure, contender, measure.quick if quick else measure.full, profile=str(target))
    console.print(target.with_suffix(".txt").read_text(), markup=False, highlight=False)
    console.print(f"under the profiler: {figures}\nin {target.relative_to(ROOT)}.txt", highlight=False)


def _measure(name: str) -> Measure:
    if name not in MEASURES:
        raise typer.BadParameter(f"no measure {name!r}{did_you_mean(name, MEASURES)}")
    return MEASURES[name]


if __name__ == "__main__":
    typer.run(main)
