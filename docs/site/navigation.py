"""The site's navigation is the index of the documentation: its headings are sections, its links are pages."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from outside import PAGES

__all__ = ["navigation_of", "on_config"]

_LINE = re.compile(
    r"^(?P<level>##+) (?P<heading>.+)$|^(?:\*|\|) \[(?P<title>[^]]+)\]\((?P<link>[^)#]+\.md)\)", re.MULTILINE
)

Section = list[Any]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """MkDocs' `nav`."""
    docs = Path(config.docs_dir)
    config.nav = [{"Documentation": "README.md"}, *navigation_of(docs / "README.md")]
    return config


def navigation_of(index: Path) -> Section:
    """Sections and pages in the index's order. A page that is the README of a folder stands for all pages in it."""
    sections: list[Section] = [[]]
    for line in _LINE.finditer(index.read_text()):
        if line["level"]:
            depth = len(line["level"]) - 1
            del sections[depth:]
            sections.append([])
            sections[depth - 1].append({line["heading"]: sections[depth]})
        else:
            sections[-1].append(_entry(index.parent, line["title"], line["link"]))
    return sections[0]


def _entry(docs: Path, title: str, link: str) -> dict[str, Any]:
    if link.startswith("../"):
        return {title: PAGES[posixpath.normpath(f"docs/{link}")]}
    folder = (docs / link).parent
    if posixpath.basename(link) != "README.md":
        return {title: link}
    pages = sorted(page.relative_to(docs).as_posix() for page in folder.rglob("*.md"))
    return {title: [link, *(page for page in pages if page != link)]}
