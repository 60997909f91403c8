"""Where the time goes: a contender's run under a sampling profiler."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from pyinstrument import Profiler
from pyinstrument.renderers import ConsoleRenderer

from benchmarks.work import Figures

__all__ = ["profiled"]

INTERVAL = 0.001
"""Seconds between two samples. The profiler slows the run down, by how much depends on it; compare parts, not rates."""


def profiled(run: Coroutine[Any, Any, Figures], target: str) -> Figures:
    """Write `target`.html, to look into, and `target`.txt: by function where the time is spent, then as a tree."""
    profiler = Profiler(interval=INTERVAL, async_mode="disabled")
    with profiler:
        figures = asyncio.run(run)
    Path(f"{target}.html").write_text(profiler.output_html())
    flat = profiler.output(ConsoleRenderer(flat=True, show_all=True))
    tree = profiler.output(ConsoleRenderer(show_all=True))
    Path(f"{target}.txt").write_text(f"{flat}\n{tree}\n")
    return figures
