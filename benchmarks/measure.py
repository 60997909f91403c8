"""A measure: who takes part, how much there is to do, what is to be reached, and what has to be said about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import field, frozen

from benchmarks.work import Figures, Option

__all__ = ["Contender", "Measure", "Plot", "Round", "Size", "Target", "figure", "ratio"]

Round = Mapping[str, Figures]
"""The figures of one round, by contender; a contender whose run was void is missing."""


@frozen
class Contender:
    """One way to do the work."""

    program: str
    """A module of `benchmarks.contenders`, such as `by_hand.drain`."""
    options: Mapping[str, Option] = field(factory=dict[str, Option])
    part: float = 1.0
    """How many of the measure's messages."""
    traced: bool = False
    """Whether there is a receiver for its spans."""

    @property
    def is_peer(self) -> bool:
        """Whether it runs in the peers' environment."""
        return self.program.startswith("faststream.")


@frozen
class Target:
    """What is to be reached; without a limit it is shown for information."""

    what: str
    value: Callable[[Round], float]
    """Raises `KeyError` for a round in which a contender is missing."""
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "x"

    def met(self, value: float) -> bool:
        """Whether a value is within the limits."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    @property
    def limit(self) -> str:
        """The limits as text."""
        if self.at_least is not None:
            return f">= {self.at_least:g} {self.unit}"
        return f"<= {self.at_most:g} {self.unit}" if self.at_most is not None else ""


@frozen
class Size:
    """How much there is to do in each round, and how many rounds."""

    messages: int
    rounds: int = 5


@frozen
class Plot:
    """What is drawn: one figure of each contender, as bars; or as a line, along another of its figures."""

    figure: str
    label: str
    along: str = ""
    """The figure that says where a contender stands on the horizontal axis."""
    along_label: str = ""
    through_origin: bool = True
    """Whether the line that is drawn beside the points begins at 0."""
    series: str = ""
    """Instead: the figures whose names begin so, in the order of the number that follows."""


@frozen(kw_only=True)
class Measure:
    """One line of the list of what is measured, with everything that belongs to it."""

    name: str
    title: str
    method: str
    """What is done and what the figures are taken from, for the page."""
    contenders: Mapping[str, Contender]
    """The order is that of the first round; each later round begins with another one."""
    full: Size
    quick: Size
    targets: tuple[Target, ...]
    waiting: str = "flights"
    """What is in the stream before a contender starts: `flights`, `parcels`, or nothing."""
    plots: tuple[Plot, ...] = ()
    note: str = ""
    """What explains the figures: where the time goes, and what would have to change. For the page."""


def ratio(
    figure_: str, ours: str, theirs: str, *, at_least: float | None = None, at_most: float | None = None
) -> Target:
    """One contender's figure as a multiple of another's, within each round."""
    return Target(
        f"{figure_}: {ours} / {theirs}",
        lambda round_: round_[ours][figure_] / round_[theirs][figure_],
        at_least=at_least,
        at_most=at_most,
    )


def figure(
    name: str, contender: str, *, at_least: float | None = None, at_most: float | None = None, unit: str = ""
) -> Target:
    """A figure as it is."""
    return Target(
        f"{name}: {contender}", lambda round_: round_[contender][name], at_least=at_least, at_most=at_most, unit=unit
    )
