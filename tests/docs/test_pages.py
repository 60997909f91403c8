"""All code on the pages of the documentation runs, and prints what the pages say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from callboard.embedded import EmbeddedServer
from tests.docs.page import blocks_of, run_page

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if any(block.language == "python" for block in blocks_of(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
async def test_code_of_the_page_runs_as_it_stands(
    page: Path, nats_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NATS_URL", nats_server.url)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    try:
        await run_page(page, tmp_path)
    finally:
        for name in set(sys.modules) - before:
            if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]  # another page may have a file of the same name
