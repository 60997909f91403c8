"""`python -m benchmarks.page FILE...` writes docs/benchmarks.md and its drawings from the results of runs.

Of a measure that stands in several files the last one counts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import Measure
from benchmarks.measures import MEASURES
from benchmarks.plot import draw
from benchmarks.process import ROOT
from benchmarks.result import Results, Spread, verdicts
from benchmarks.runner import Outcome
from benchmarks.table import contenders_of, number

__all__ = ["write_page"]

DOCS = ROOT / "docs"

METHOD = """\
* In each round every contender works once, one after the other, in a fresh process on a fresh stream of the same
  server, with the same messages: the real flights of `actors/data`, numbered. Each round begins with another
  contender.
* A target is a ratio within a round, so that what the machine does meanwhile meets both sides. The table shows the
  median of the rounds, and the lowest and the highest.
* File storage, one server, everything on one machine over loopback. Every message is acknowledged. Unless a measure
  says otherwise, the time is from the first to the last message handled, inside the process that handles: starting it
  is not measured, and neither is the first pull.
* A run is void when an effect is missing or happened twice, when the server still waits for an acknowledgement
  afterwards, or when an answer belongs to another question. What is void is listed, and its round does not count.
* By hand: nats-py alone, a continuous pull of 1,000 that is renewed at half, Callboard's codec into the same attrs
  class, an acknowledgement for each message. It has no leases, retries, dead letters, limits, traces or shutdown: it
  is the floor.
* FastStream: its default pydantic models, orjson, no log, 10,000 unacknowledged messages allowed, acknowledgement by
  the framework after the handler.
"""

CAVEATS = """\
* The server and the contenders share the machine's processors. Where there are only two, whoever leaves the server
  less of them is slowed down twice.
* The messages are plain JSON without headers, as a foreign client would publish them.
* Absolute figures belong to this machine and this hour. Ratios move too, by some percent.
* Small handlers: the more a handler does, the less any of this matters.
"""


def write_page(runs: Sequence[Results]) -> Path:
    """Write the page and the drawings beside it; returns where the page is."""
    latest = {outcome.measure: outcome for run in runs for outcome in run.outcomes}
    found = [(measure, latest[name]) for name, measure in MEASURES.items() if name in latest]
    target = DOCS / "benchmarks.md"
    target.write_text("\n".join([*_head(runs), *_summary(found), *_about(runs[-1]), *_sections(found)]))
    return target


def _head(runs: Sequence[Results]) -> Iterator[str]:
    yield "# Benchmarks\n"
    yield "Callboard beside a hand-written loop on nats-py alone and beside FastStream. Written by `make bench`;"
    quick = ", in the quick form: small sizes, rough figures" if any(run.quick for run in runs) else ""
    yield f"measured on {', '.join(dict.fromkeys(run.when for run in runs))}{quick}.\n"


def _summary(found: Sequence[tuple[Measure, Outcome]]) -> Iterator[str]:
    yield "## Targets\n"
    yield "| measure | target | to reach | median | lowest to highest | rounds | |"
    yield "|---|---|---|---|---|---|---|"
    for measure, outcome in found:
        link = f"[{measure.title}](#{measure.name})"
        for verdict in verdicts(measure, outcome):
            cells = _cells(verdict.spread) if verdict.spread else ("", "")
            rounds = verdict.spread.rounds if verdict.spread else 0
            row = (link, verdict.target.what, verdict.target.limit, *cells, str(rounds), verdict.word)
            yield f"| {' | '.join(row)} |"
            link = ""
    yield ""


def _about(run: Results) -> Iterator[str]:
    yield "## On what\n\n| | |\n|---|---|"
    for name, value in run.environment.items():
        yield f"| {name} | {value} |"
    yield f"\n## Method\n\n{METHOD}\n## Caveats\n\n{CAVEATS}"


def _sections(found: Sequence[tuple[Measure, Outcome]]) -> Iterator[str]:
    for measure, outcome in found:
        yield f'<a id="{measure.name}"></a>\n\n## {measure.title}\n\n{measure.method}\n'
        yield f"{outcome.size.messages:,} messages, {outcome.size.rounds} rounds.\n"
        yield "| contender | figure | median | lowest to highest |\n|---|---|---|---|"
        for contender, figure, spread in contenders_of(outcome):
            yield f"| {contender} | {figure} | {' | '.join(_cells(spread))} |"
        yield ""
        if draw(measure, outcome, DOCS / "benchmarks" / f"{measure.name}.svg"):
            yield f"![{measure.title}](benchmarks/{measure.name}.svg)\n"
        if measure.note:
            yield f"{measure.note}\n"
        for text in outcome.void:
            yield f"* Void: {text}"
        yield from [""] * bool(outcome.void)


def _cells(spread: Spread) -> tuple[str, str]:
    return number(spread.median), f"{number(spread.lowest)} to {number(spread.highest)}"


def main() -> None:
    """Write the page from the files that the command line names."""
    if not sys.argv[1:]:
        sys.exit(__doc__)
    print(write_page([Results.read(Path(name)) for name in sys.argv[1:]]))


if __name__ == "__main__":
    main()
