"""The peers' own environment: made where it is missing, with the versions that `constraints.txt` pins."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from benchmarks.process import ROOT

__all__ = ["PACKAGES", "peers_python"]

PACKAGES = (
    "faststream[nats,otel]==0.7.8",
    "attrs",
    "opentelemetry-exporter-otlp-proto-http",
    "orjson",  # FastStream takes it for JSON where it is installed
)
FOLDER = ROOT / ".venv-peers"


def peers_python() -> str:
    """The interpreter of that environment, which is there when this returns."""
    constraints = ROOT / "constraints.txt"
    wanted = sha256(constraints.read_bytes() + "\n".join(PACKAGES).encode()).hexdigest()
    python = FOLDER / "bin" / "python"
    stamp = FOLDER / ".installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {PACKAGES[0]} into {FOLDER.name}", file=sys.stderr)
        _run(sys.executable, "-m", "venv", "--clear", str(FOLDER))
        _run(str(python), "-m", "pip", "install", "--quiet", "--constraint", str(constraints), *PACKAGES)
        stamp.write_text(wanted)
    return str(python)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)
