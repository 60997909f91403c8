"""The page about the wire protocol names all that the code puts on the wire."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from callboard.brokers.deadletter import DEAD_STREAM, DEAD_TOPIC
from callboard.instrumentation import TRACE_HEADERS
from callboard.jetstream import durable

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "wire-protocol.md").read_text()
OF_OTHERS = {"Nats-Sequence"}
"""The server's, on what it answers."""


def headers_of_the_code() -> set[str]:
    """All texts in it that are the name of a header, or the beginning of one."""
    package = ROOT / "runtime" / "callboard"
    files = [file for file in package.rglob("*.py") if package / "testing" not in file.parents]
    return {
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(r"(Callboard|Nats)-[A-Za-z-]+|Content-Type", node.value)
    }


def test_every_header_of_the_code_is_on_the_page() -> None:
    named = headers_of_the_code() - OF_OTHERS
    assert {header for header in named | set(TRACE_HEADERS) if f"`{header}" not in PAGE} == set()
    assert len(named) > 12


def test_table_of_headers_has_no_header_that_the_code_does_not_know() -> None:
    rows = re.findall(r"^\| (`[A-Z][^|]*) \|", PAGE, flags=re.MULTILINE)
    named = {header for row in rows for header in re.findall(r"`([\w-]+)`", row)}
    assert named <= headers_of_the_code()


def test_names_of_streams_and_metadata_are_those_of_the_code() -> None:
    for name in (DEAD_STREAM, f"{DEAD_TOPIC}.<durable>", durable.KIND, durable.SERVICE, durable.ACTOR):
        assert f"`{name}`" in PAGE
