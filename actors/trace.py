"""The way of one cancelled flight through the actors, as its trace tells it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text
from rich.tree import Tree

from callboard.testing import ReceivedSpan, SpanReceiver

__all__ = ["cancelled_flight", "tree_of"]

_FACTS = ("callboard.actor", "callboard.settlement", "error.type")


def cancelled_flight(receiver: SpanReceiver) -> Sequence[ReceivedSpan]:
    """The longest complete trace that leads from a departure to the answer about new seats; empty if none does."""
    complete = [
        spans
        for trace_id, spans in receiver.traces().items()
        if any(span.name == "process passengers.answered" for span in spans) and not receiver.orphans(trace_id)
    ]
    return max(complete, key=len, default=())


def tree_of(spans: Sequence[ReceivedSpan]) -> Tree:
    """A line for each span, below the one that caused it, in order of time."""
    root, *others = sorted(spans, key=lambda span: (span.parent_id != "", span.start))
    tree = Tree(_line(root), guide_style="dim")
    _grow(tree, root, others)
    return tree


def _grow(tree: Tree, parent: ReceivedSpan, spans: Iterable[ReceivedSpan]) -> None:
    for span in spans:
        if span.parent_id == parent.span_id:
            _grow(tree.add(_line(span)), span, spans)


def _line(span: ReceivedSpan) -> Text:
    facts = [
        f"{(span.end - span.start) / 1e6:.0f} ms",
        *(str(span.attributes[name]) for name in _FACTS if name in span.attributes),
    ]
    return Text.assemble(span.name, "  ", (", ".join(facts), "red" if span.status_code == "ERROR" else "dim"))
