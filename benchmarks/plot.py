"""The results as drawings: one SVG for a measure."""

# matplotlib leaves parts of its signatures without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.line import fit
from benchmarks.measure import Measure, Plot
from benchmarks.result import spread_of
from benchmarks.runner import Outcome

__all__ = ["draw"]

OURS, OTHERS = "#1f6f8b", "#b8c4c9"
WIDTH, HEIGHT = 7.0, 3.2
"""Inches, of each plot."""


def draw(measure: Measure, outcome: Outcome, target: Path) -> bool:
    """Write the measure's plots side by side; False when it has none, or no round to draw."""
    if not measure.plots or not any(outcome.rounds):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": measure.name, "svg.fonttype": "none", "font.size": 9.0}):
        drawing = Figure(figsize=(WIDTH * len(measure.plots), HEIGHT), layout="constrained")
        axes = cast("Sequence[Sequence[Axes]]", drawing.subplots(1, len(measure.plots), squeeze=False))
        for place, plot in zip(axes[0], measure.plots, strict=True):
            _draw(place, plot, outcome)
        drawing.savefig(target, metadata={"Date": None})  # the same figures give the same file
    return True


def _draw(axes: Axes, plot: Plot, outcome: Outcome) -> None:
    if plot.series:
        _series(axes, plot, outcome)
    elif plot.along:
        _line(axes, plot, outcome)
    else:
        _bars(axes, plot, outcome)
    axes.spines[["top", "right"]].set_visible(False)


def _bars(axes: Axes, plot: Plot, outcome: Outcome) -> None:
    """Medians, with the lowest and the highest round as whiskers."""
    names = dict.fromkeys(name for round_ in outcome.rounds for name in round_)
    for name in names:
        spread = spread_of([round_[name][plot.figure] for round_ in outcome.rounds if name in round_])
        if spread is None:
            continue
        whiskers = [[spread.median - spread.lowest], [spread.highest - spread.median]]
        colour = OTHERS if name.startswith(("by hand", "faststream")) else OURS
        axes.barh(name, spread.median, xerr=whiskers, color=colour, height=0.6, capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel(plot.label)


def _line(axes: Axes, plot: Plot, outcome: Outcome) -> None:
    """Each round's points beside the line that fits them, on logarithmic axes."""
    points = sorted(
        (figures[plot.along], figures[plot.figure]) for round_ in outcome.rounds for figures in round_.values()
    )
    slope, intercept = fit(points, through_origin=plot.through_origin)
    places = np.geomspace(points[0][0], points[-1][0])
    axes.loglog(places, slope * places + intercept, color=OTHERS, label="fitted line")
    axes.loglog([x for x, _ in points], [y for _, y in points], "o", color=OURS, label="measured")
    axes.legend(frameon=False)
    axes.set_xlabel(plot.along_label)
    axes.set_ylabel(plot.label)


def _series(axes: Axes, plot: Plot, outcome: Outcome) -> None:
    """A line for each round."""
    for round_ in outcome.rounds:
        for figures in round_.values():
            points = sorted(
                (int(name.removeprefix(plot.series)), value)
                for name, value in figures.items()
                if name.startswith(plot.series)
            )
            axes.plot([x for x, _ in points], [y for _, y in points], color=OURS, alpha=0.6)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(plot.along_label)
    axes.set_ylabel(plot.label)
