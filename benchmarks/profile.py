"""Where the processor's time goes: a contender's run, looked at again and again.

Not a profiler from PyPI: one that stops the process from outside sees system calls too often, and one that hooks into
calls loses sight of what runs inside asyncio's C tasks. A signal after so much processor time meets all code alike.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.work import Figures

__all__ = ["profiled"]

INTERVAL = 0.001
"""Seconds of processor time between two looks; some kernels take 4 ms at least."""
LINES = 40
"""Of each list."""


class Sampler:
    """Counts where the code is, by module, function and line, and in which functions it is somewhere below."""

    def __init__(self) -> None:
        self.looks = 0
        self.modules: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()
        self.below: Counter[str] = Counter()

    def look(self, _signal: int, frame: FrameType | None) -> None:
        """The code is here now."""
        if frame is None:
            return
        self.looks += 1
        module, function = _module(frame), _function(frame)
        self.modules[module] += 1
        self.functions[function] += 1
        self.lines[f"{function}:{frame.f_lineno}"] += 1
        self.below.update(set(_stack(frame)))

    def report(self) -> str:
        """Percentages, the highest first."""
        parts = {
            "by module": self.modules,
            "by function": self.functions,
            "by line": self.lines,
            "by function, with what it calls": self.below,
        }
        return "\n".join([f"{self.looks} looks", *(line for name in parts for line in self._list(name, parts[name]))])

    def _list(self, name: str, counts: Counter[str]) -> Iterator[str]:
        yield f"\n{name}"
        for what, count in counts.most_common(LINES):
            yield f"{100 * count / max(1, self.looks):5.1f} %  {what}"


def _stack(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield _function(frame)
        frame = frame.f_back


def _function(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname} ({_module(frame)})"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def profiled(run: Coroutine[Any, Any, Figures], target: str) -> Figures:
    """Write `target`.txt. The whole run is looked at, its beginning and end too."""
    sampler = Sampler()
    signal.signal(signal.SIGPROF, sampler.look)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    try:
        figures = asyncio.run(run)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    Path(f"{target}.txt").write_text(f"python {sys.version.split()[0]}, {sampler.report()}\n")
    return figures
