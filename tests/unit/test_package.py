"""What the package shows to the outside."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import callboard

ROOT = Path(callboard.__file__).parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(ROOT)], "callboard.")
    if not any(part.startswith("_") for part in module.name.split("."))
)
LAZY = sorted(callboard._HOME_OF)  # pyright: ignore[reportPrivateUsage]


def test_all_is_exactly_what_can_be_loaded() -> None:
    assert sorted(callboard.__all__) == LAZY


@pytest.mark.parametrize("name", LAZY)
def test_public_name_is_the_one_of_its_home(name: str) -> None:
    home = importlib.import_module(callboard._HOME_OF[name])  # pyright: ignore[reportPrivateUsage]

    assert getattr(callboard, name) is getattr(home, name)
    assert name in home.__all__


def test_names_for_type_checkers_are_the_same() -> None:
    """What stands under TYPE_CHECKING and what is loaded lazily cannot drift apart."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    shown = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert shown == callboard._HOME_OF  # pyright: ignore[reportPrivateUsage]


def test_dir_shows_every_public_name() -> None:
    assert set(callboard.__all__) <= set(dir(callboard))


def test_unknown_name_is_an_attribute_error() -> None:
    misspelled = "Acter"
    with pytest.raises(AttributeError, match="module 'callboard' has no attribute 'Acter'"):
        getattr(callboard, misspelled)


def test_import_is_light() -> None:
    program = """
import sys, callboard
print(*sorted({name.partition('.')[0] for name in sys.modules} & {'nats', 'opentelemetry', 'cattrs', 'msgspec'}))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.split() == []


@pytest.mark.parametrize("name", MODULES)
def test_module_defines_what_its_all_names(name: str) -> None:
    module = importlib.import_module(name)
    if is_bare_package(module):
        return

    assert hasattr(module, "__all__"), f"{name} has no __all__"
    foreign = [public for public in module.__all__ if not belongs(module, public)]
    assert foreign == []


def is_bare_package(module: ModuleType) -> bool:
    """A package that only holds modules needs no `__all__`."""
    tree = ast.parse(Path(str(module.__file__)).read_text())
    return hasattr(module, "__path__") and all(isinstance(node, ast.Expr) for node in tree.body)


def belongs(module: ModuleType, name: str) -> bool:
    """Whether a name is defined in the module, or, for a package, somewhere below it."""
    home = getattr(getattr(module, name), "__module__", module.__name__)
    if hasattr(module, "__path__"):
        return str(home).startswith(f"{module.__name__}.") or name in assigned(module)
    return home == module.__name__ or name in assigned(module)


def assigned(module: ModuleType) -> set[str]:
    """Names that are bound at the top of the module other than by an import from elsewhere."""
    tree = ast.parse(Path(str(module.__file__)).read_text())
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{module.__name__}."):
            names |= {alias.asname or alias.name for alias in node.names}
    return names
