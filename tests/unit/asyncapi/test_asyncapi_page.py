"""The page of a document: complete, linked, escaped, and alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any, ClassVar

import pytest
from attrs import frozen

from callboard import Actor, command, event
from callboard.asyncapi import asyncapi_document, asyncapi_page
from callboard.config import Config
from callboard.system.assembly import assemble
from tests.asyncapi import described

_VOID = {"meta", "br", "hr"}
_INLINE = {"a", "code", "span", "small", "em", "strong"}


class Parsed(HTMLParser):
    """What stands on a page. Fails for elements that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag not in _INLINE:
            self.texts.append((tag, " "))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return " ".join("".join(text for tag, text in self.texts if tag != "style").split())

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(name))]


@frozen
class Evil:
    """<script>alert(1)</script> ![picture](https://example.org/p.png) [go](javascript:alert(1))"""

    text: str = "</script><script>alert(2)</script>"
    """<img src=x onerror=alert(3)> & `<b>`"""


class Rules(Actor):
    """Has <b>bold</b> words, and `code`."""

    publishes: ClassVar[Mapping[str, Any]] = {'evil.<i"onclick=x': Evil}

    @command("evil.{id}.do", timeout=1.5, retry=(), failures={ValueError: "reject"})
    async def do(self, id: str, evil: Evil) -> dict[int, set[str] | None] | list[tuple[int, Evil]]:  # noqa: A002
        """Does <u>it</u>."""
        raise NotImplementedError

    @event("evil.<i&amp;")
    async def hear(self) -> None: ...


@pytest.fixture(scope="module")
def flights() -> dict[str, Any]:
    return asyncapi_document(assemble(["actors.flights"], Config()).declarations, servers=["nats://one:4222"])


def test_every_operation_channel_and_type_has_a_place_and_a_link(flights: dict[str, Any]) -> None:
    page = Parsed(asyncapi_page(flights))
    wanted = {
        *(f"actor-{tag['name']}" for tag in flights["info"]["tags"]),
        *(f"operation-{name}" for name in flights["operations"]),
        *(f"channel-{name}" for name in flights["channels"]),
        *(f"type-{name}" for name in flights["components"]["schemas"]),
    }

    assert wanted <= set(page.values("id"))
    assert {f"#{place}" for place in wanted} <= set(page.values("href"))


def test_every_link_leads_to_one_place_on_the_page(flights: dict[str, Any]) -> None:
    page = Parsed(asyncapi_page(flights))
    places = page.values("id")

    assert len(set(places)) == len(places)
    assert {href.removeprefix("#") for href in page.values("href")} <= set(places)


def test_it_says_what_the_document_says(flights: dict[str, Any]) -> None:
    text = Parsed(asyncapi_page(flights)).text

    for schema in flights["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            assert name in text
            assert " ".join(field.get("description", "").replace("`", "").split()) in text
    assert "nats://one:4222" in text
    assert "after 0, 0.1, 0.3 s" in text


def test_types_are_said_in_words() -> None:
    text = Parsed(asyncapi_page(described(Rules))).text

    assert re.search(r"object of set of string \| null by string \^", text)
    assert re.search(r"array of \[integer, Evil\]", text)
    assert "timeout 1.5 s" in text
    assert "retry none" in text
    assert "failures ValueError: reject" in text


def test_everything_is_escaped() -> None:
    page = Parsed(asyncapi_page(described(Rules)))

    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "img", "b", "u", "i"})
    assert "<script>alert(1)</script>" in page.text
    assert "<img src=x onerror=alert(3)> &" in page.text
    assert not [href for href in page.values("href") if not href.startswith(("#", "https://example.org/"))]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_it_loads_nothing() -> None:
    page = asyncapi_page(described(Rules))
    parsed = Parsed(page)

    assert {tag for tag, _ in parsed.elements}.isdisjoint({"script", "link", "img", "iframe", "object", "svg"})
    assert not parsed.values("src")
    assert "default-src 'none'" in parsed.values("content")[-1]
    style = "".join(text for tag, text in parsed.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style


def test_equal_documents_give_equal_pages(flights: dict[str, Any]) -> None:
    assert asyncapi_page(flights) == asyncapi_page(flights)
