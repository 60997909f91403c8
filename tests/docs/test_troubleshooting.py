"""The pages about faults quote what the code says, and there is one for each fault of the suite."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from callboard.cli.app import app
from tests.docs.page import Block, blocks_of
from tests.docs.template import explained, log_calls
from tests.faults.report import FAULTS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "troubleshooting"
INDEX = FOLDER / "README.md"
PAGES = sorted(set(FOLDER.glob("*.md")) - {INDEX})
FORM = [
    "How you see it",
    "What Callboard does",
    "What is guaranteed",
    "What you do",
    "How to prevent it",
    "Proof",
]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
each_page_and_index = pytest.mark.parametrize("page", [INDEX, *PAGES], ids=lambda page: page.stem)


def fault_tests() -> set[str]:
    """Names of the tests of the fault suite."""
    files = (ROOT / "tests" / "faults").glob("test_*.py")
    return {name for file in files for name in re.findall(r"^async def (test_\w+)", file.read_text(), re.MULTILINE)}


def test_each_fault_test_is_named_by_one_page() -> None:
    named = Counter(name for page in PAGES for name in set(re.findall(r"`(test_\w+)`", page.read_text())))
    assert named == dict.fromkeys(fault_tests(), 1)


def test_each_fault_of_the_report_is_named_by_one_page() -> None:
    proofs = [" ".join(page.read_text().split("## Proof")[1].split()) for page in PAGES]
    named = {fault.title: sum(f"*{fault.title}*" in proof for proof in proofs) for fault in FAULTS}
    assert named == dict.fromkeys(named, 1)


def test_index_leads_to_each_page() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", INDEX.read_text()))
    assert linked == {page.name for page in PAGES}


def test_fragments_of_log_lines_are_on_the_pages_that_the_index_leads_to() -> None:
    rows = re.findall(r"^\| `(.*?)` \| (.*) \|$", INDEX.read_text().split("## By log line")[1], re.MULTILINE)
    assert rows
    for fragment, links in rows:
        for target in re.findall(r"\]\(([^)#]+)", links):
            assert fragment in (FOLDER / target).read_text(), f"{fragment} -> {target}"


@each_page
def test_page_has_the_form(page: Path) -> None:
    assert re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE) == FORM


# What is quoted

LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3} (?P<level>\w+) +(?P<logger>\S+) +(?P<message>.*?)(  \[[^\]]*\])?")


@each_page_and_index
def test_log_lines_are_such_as_the_code_writes(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "log":
            for line in block.text.splitlines():
                assert can_be_logged(line), f"{page.name}:{block.line}: {line}"


def can_be_logged(line: str) -> bool:
    """Whether a call of this logger, at this level, has this message."""
    found = LINE.fullmatch(line)
    if found is None:
        return False
    logger, level, message = found.group("logger", "level", "message")
    return any(
        call.logger == logger and call.level in ("", level) and call.message.explains(message) for call in log_calls()
    )


@each_page_and_index
def test_messages_of_commands_are_such_as_the_code_writes(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "console":
            for text in said(block):
                assert explained(text), f"{page.name}:{block.line}: {text}"


def said(block: Block) -> Iterator[str]:
    """Errors of commands, findings of the doctor with their remedies, and the heads of tables."""
    for line in block.text.splitlines():
        if line.startswith(("callboard: ", "ok    ", "note  ", "wrong ")):
            yield line.partition(": ")[2]  # behind what it is about
        elif line.startswith("      -> "):
            yield line.partition("-> ")[2]
        elif line.startswith(("SERVICE  ", "seq  ")):
            yield from re.split(r" {2,}", line.strip())


# What is to be typed


def options() -> dict[tuple[str, ...], set[str]]:
    """The options of each command, by its words."""
    found: dict[tuple[str, ...], set[str]] = {}

    def walk(command: object, words: tuple[str, ...]) -> None:
        found[words] = {option for parameter in getattr(command, "params", ()) for option in parameter.opts}
        for name, below in getattr(command, "commands", {}).items():
            walk(below, (*words, name))

    walk(typer.main.get_command(app), ())
    return found


OPTIONS = options()
COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*callboard ([a-z].*)$", re.MULTILINE)


def commands_of(page: Path) -> Iterator[str]:
    """Everything after the word `callboard`, in blocks and in the text."""
    for block in blocks_of(page):
        if block.language in ("sh", "console"):
            yield from COMMAND.findall(block.text)
    yield from re.findall(r"`callboard ([a-z][^`]*)`", page.read_text())


@each_page_and_index
def test_commands_and_their_options_exist(page: Path) -> None:
    for command in commands_of(page):
        words = shlex.split(command, comments=True)
        name = tuple(words[:2]) if tuple(words[:2]) in OPTIONS else tuple(words[:1])
        assert name in OPTIONS, f"{page.name}: callboard {command}"
        unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - OPTIONS[name] - {"--help"}
        assert not unknown, f"{page.name}: callboard {command}"


@each_page_and_index
def test_options_in_the_text_exist(page: Path) -> None:
    known = set[str]().union(*OPTIONS.values())
    assert set(re.findall(r"`(--[a-z-]+)", page.read_text())) <= known
