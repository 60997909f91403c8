"""One-line defects that are kept: what they are, and how one is made in a copy of the package."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import cattrs
from attrs import frozen

__all__ = ["PACKAGE", "Mutant", "copy_package", "mutants"]

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runtime" / "callboard"


@frozen
class Mutant:
    """A line of the package, what stands there instead, and the check that has to notice."""

    check: str
    file: str
    """Below the package."""
    line: str
    defect: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.check} {self.file}: {self.defect}"

    def places(self, package: Path) -> list[int]:
        """Where the line stands; a mutant is good while that is one place."""
        lines = (package / self.file).read_text().splitlines()
        return [number for number, line in enumerate(lines) if line.strip() == self.line]

    def apply(self, package: Path) -> None:
        """Make the defect in a copy. Raises `ValueError` when the line is not there exactly once."""
        [place] = self.places(package)
        path = package / self.file
        lines = path.read_text().splitlines()
        lines[place] = lines[place].replace(self.line, self.defect)
        path.write_text("\n".join(lines) + "\n")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()


def mutants() -> list[Mutant]:
    """All of `mutants.toml`."""
    kept = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text())
    return cattrs.structure(kept["mutant"], list[Mutant])


def copy_package(folder: Path) -> Path:
    """A copy of the package below `folder`, which is then to be first on PYTHONPATH."""
    return shutil.copytree(PACKAGE, folder / PACKAGE.name)
