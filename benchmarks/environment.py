"""On what it was measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers import PACKAGES
from benchmarks.process import ROOT
from callboard.embedded.binary import find_binary

__all__ = ["environment"]


def environment() -> dict[str, str]:
    """Versions and machine, by name."""
    return {
        "callboard": f"{version('callboard')} at {_output('git', 'rev-parse', '--short', 'HEAD')}",
        "nats-server": _output(find_binary(), "--version").split()[-1].lstrip("v"),
        "nats-py": version("nats-py"),
        "FastStream": PACKAGES[0].partition("==")[2],
        "Python": f"{platform.python_implementation()} {platform.python_version()}, asyncio's own event loop",
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} x {_cpu()}",
        "load before": f"{os.getloadavg()[0]:.2f} (one minute)",
    }


def _output(*command: str | Path) -> str:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.stdout.strip() or "unknown"


def _cpu() -> str:
    """The processor's name, where the system says it."""
    if sys.platform != "linux":
        return platform.processor() or "unknown processor"
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"
