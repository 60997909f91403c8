"""Every command says what it does, with an example that works, what its options mean, and how it ends."""

# typer brings its own copy of click, without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from callboard.cli.app import app

UNITS = re.compile(r"second|SECONDS|TIME|copies|processes|at most|number|port", re.IGNORECASE)
"""What says in what a number is counted."""


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands(typer.main.get_command(app)))
each = pytest.mark.parametrize("path", ALL, ids=" ".join)


@each
def test_example_is_one_of_this_command_and_parses(path: tuple[str, ...]) -> None:
    command = ALL[path]
    (example,) = re.findall(r"^ *Example: (.*)$", command.help, flags=re.MULTILINE)
    words = shlex.split(example)
    assert tuple(words[: len(path) + 1]) == ("callboard", *path)
    command.make_context(path[-1], words[len(path) + 1 :])


@each
def test_help_says_in_short_what_it_does_and_how_it_ends(path: tuple[str, ...]) -> None:
    first, *_ = ALL[path].help.split("\n\n")
    assert len(" ".join(first.split())) <= 64, "the listing of commands would cut it"
    assert re.search(r"^ *Exit codes: 0 ", ALL[path].help, flags=re.MULTILINE)


@each
def test_options_are_explained_with_their_units(path: tuple[str, ...]) -> None:
    for parameter in ALL[path].params:
        assert parameter.help, parameter.name
        if re.search(r"\b(float|int)\b", str(parameter.type_descriptor.annotation)):
            assert UNITS.search(f"{parameter.metavar} {parameter.help}"), parameter.name
