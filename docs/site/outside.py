"""Pages of the repository that are not in docs/, on the site; and links that hold in the repository and on the site."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

__all__ = ["PAGES", "on_files", "on_page_markdown"]

PAGES = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "observability/README.md": "observability.md",
}
"""File in the repository -> page of the site. A link to any other file outside docs/ is refused as broken."""

_SOURCES = {page: source for source, page in PAGES.items()}
_TARGET = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)[^)\s#]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Takes the pages in."""
    root = Path(config.docs_dir).parent
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(root / source)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links from one side to the other lead to the page on the site."""
    here = page.file.src_uri
    folder = posixpath.dirname(_SOURCES.get(here, f"docs/{here}"))

    def there(target: re.Match[str]) -> str:
        file = posixpath.normpath(posixpath.join(folder, target[0]))
        on_site = PAGES.get(file) or (file.removeprefix("docs/") if here in _SOURCES else None)
        return target[0] if on_site is None else posixpath.relpath(on_site, posixpath.dirname(here) or ".")

    return _TARGET.sub(there, markdown)
