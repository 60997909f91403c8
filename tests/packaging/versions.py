"""`make versions`: the wheel in empty environments of every Python that it promises.

In each one, with nothing but `pip install callboard[embedded]`, `callboard dev` runs an actor of five lines. With the
newest one the unit tests and those of the test kit pass on the installed wheel too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.packaging.hello import ROOT, build_wheel, say_hello

CLASSIFIER = "Programming Language :: Python :: "
SUITES = ("tests/unit", "tests/testing")


def promised() -> Sequence[str]:
    """Versions that the package names, such as `3.12`."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    names = [each.removeprefix(CLASSIFIER) for each in classifiers if each.startswith(CLASSIFIER)]
    return [name for name in names if name.replace(".", "").isdigit() and "." in name]


def interpreter(version: str) -> Path | None:
    """Where a version is: on the path, or with pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    if found := sorted(pyenv.glob(f"{version}.*/bin/python")):
        return found[-1]
    on_path = shutil.which(f"python{version}")
    return Path(on_path) if on_path else None


def check(python: Path, wheel: Path, folder: Path, *, with_tests: bool) -> None:
    """Raises when anything does not work."""
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    own = folder / "venv/bin/python"
    install = (own, "-m", "pip", "install", "--quiet")
    subprocess.run([*install, f"{wheel}[embedded]"], check=True)
    assert say_hello(own, folder / "project") == '"Hello, Ada!"\n'
    print("  'callboard dev' answers", flush=True)
    if not with_tests:
        return
    subprocess.run([*install, "--upgrade", "pip"], check=True)
    subprocess.run(
        [*install, f"{wheel}[embedded,database,testing]", "--group", f"{ROOT}/pyproject.toml:test"], check=True
    )
    quiet = ("-q", "--numprocesses", "2", "-p", "no:cacheprovider")
    subprocess.run([own, "-m", "pytest", *quiet, *SUITES], cwd=ROOT, check=True)


def main() -> None:
    missing = [version for version in promised() if interpreter(version) is None]
    if missing:
        print(f"not on this machine: Python {', '.join(missing)}")
    with TemporaryDirectory(prefix="callboard-versions-") as name:
        folder = Path(name)
        wheel = build_wheel(folder)
        for version in promised():
            if (python := interpreter(version)) is not None:
                print(f"Python {version}", flush=True)
                (folder / version).mkdir()
                check(python, wheel, folder / version, with_tests=version == promised()[-1])
    if missing and os.environ.get("CI"):
        sys.exit(1)


if __name__ == "__main__":
    main()
