"""`python -m benchmarks.contenders callboard.drain '<work>'`: one run; its figures are the last line of the output."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from importlib import import_module

from benchmarks.profile import profiled
from benchmarks.work import Work

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
    figures = profiled(run, arguments.profile) if arguments.profile else asyncio.run(run)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
