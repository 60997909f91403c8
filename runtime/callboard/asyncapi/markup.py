"""HTML, made of parts that are escaped unless they are HTML already."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from markdown_it import MarkdownIt

__all__ = ["Html", "inline", "join", "prose", "tag"]


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


def tag(name: str, *parts: str, **attributes: str) -> Html:
    """An element; `class_` is the attribute `class`, and an empty attribute is left out."""
    said = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items() if value)
    return Html(f"<{name}{said}>{join(parts)}</{name}>")


def join(parts: Iterable[str], between: str = "") -> Html:
    """Parts in a row."""
    return Html(_html(between).join(map(_html, parts)))


def prose(text: str) -> Html:
    """CommonMark as paragraphs. HTML in it is shown as it stands, and pictures, which would be loaded, as links."""
    return Html(_MARKDOWN.render(text))


def inline(text: str) -> Html:
    """CommonMark as a part of a line."""
    return Html(_MARKDOWN.renderInline(text))


def _html(part: str) -> str:
    return part if isinstance(part, Html) else escape(part)


_MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable("image")
