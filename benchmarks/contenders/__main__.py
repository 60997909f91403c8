"""`python -m benchmarks.contenders callboard.drain '<work>'`: one run; its figures are the last line of the output."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Coroutine
from importlib import import_module
from typing import Any

from benchmarks.work import Figures, Work

__all__ = ["main"]


def main() -> None:
    """Run one contender, under a profiler where a file for the profile is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("work")
    parser.add_argument("--profile", default="")
    arguments = parser.parse_args()
    logging.basicConfig(level="WARNING")
    run = import_module(f"benchmarks.contenders.{arguments.program}").run(Work(**json.loads(arguments.work)))
    figures = _profiled(run, arguments.profile) if arguments.profile else asyncio.run(run)
    print(json.dumps(figures))


def _profiled(run: Coroutine[Any, Any, Figures], target: str) -> Figures:
    from benchmarks.profile import profiled  # noqa: PLC0415 - only where it is installed and asked for

    return profiled(run, target)


if __name__ == "__main__":
    main()
