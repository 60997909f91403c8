"""The real program `jaeger`, built from its source by Go: `python -m tests.jaeger.binary` installs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["binary_path", "find_go", "install"]

VERSION = "v1.76.0"
"""Jaeger 2.13.0: the newest version of this module that the module proxy lists."""
PACKAGE = "github.com/jaegertracing/jaeger/cmd/jaeger"
NICENESS = 19
"""Niceness of the build, which takes some minutes of two cores."""


def binary_path() -> Path:
    """Where it is, once it is installed: a cache that all checkouts share."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "callboard" / f"jaeger-{VERSION}" / "jaeger"


def find_go() -> str | None:
    """The command `go`, also where an installation of Go left it off PATH."""
    return shutil.which("go", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/go/bin"]))


def install(go: str) -> None:
    """Build it into the cache. Raises `CalledProcessError`; nothing is left behind then."""
    target = binary_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="jaeger-", dir=target.parent) as folder:
        # A module of its own: `go install PACKAGE@VERSION` asks for modules below Jaeger's, which a proxy may refuse.
        (Path(folder) / "go.mod").write_text("module callboard.test/jaeger\n")
        for arguments in (["get", "-tool", f"{PACKAGE}@{VERSION}"], ["install", PACKAGE]):
            subprocess.run([go, *arguments], cwd=folder, env={**os.environ, "GOBIN": folder}, check=True)
        (Path(folder) / target.name).replace(target)


def main() -> int:
    target = binary_path()
    go = find_go()
    if target.exists():
        sys.stdout.write(f"{target} is there\n")
    elif go is None:
        sys.stdout.write("no Jaeger: it is built with Go, which is not here; the tests that need it are skipped\n")
    else:
        sys.stdout.write(f"building Jaeger {VERSION} into {target}; this takes some minutes\n")
        sys.stdout.flush()
        os.nice(NICENESS)
        try:
            install(go)
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"Jaeger cannot be built: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
