"""The application's image: what it copies is there, and it does not run as root."""

from __future__ import annotations

import re

from tests.observability.stack import ROOT

LINES = (ROOT / "Dockerfile").read_text().splitlines()


def copied() -> set[str]:
    return {path for line in LINES if line.startswith("COPY") for path in line.split()[1:-1]}


def test_what_is_copied_exists_and_nothing_else_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied() == sent
    assert [path for path in copied() if not (ROOT / path).exists()] == []


def test_the_base_image_has_an_exact_version_that_the_package_supports() -> None:
    (base,) = [line.split()[1] for line in LINES if line.startswith("FROM")]
    minor = re.fullmatch(r"python:3\.(\d+)\.\d+-slim-\w+", base)
    assert minor is not None
    assert f"Python :: 3.{minor[1]}" in (ROOT / "pyproject.toml").read_text()


def test_it_does_not_run_as_root() -> None:
    users = [number for number, line in enumerate(LINES) if line.startswith("USER ") and line != "USER root"]
    (command,) = [number for number, line in enumerate(LINES) if line.startswith("CMD ")]
    assert users
    assert users[-1] < command
