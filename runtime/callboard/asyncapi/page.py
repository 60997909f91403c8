"""A document as one page of HTML that loads nothing from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any

from callboard.asyncapi.markup import Html, inline, join, prose, tag
from callboard.asyncapi.shown import fields, link, type_of

__all__ = ["asyncapi_page"]

_Object = Mapping[str, Any]


def asyncapi_page(document: _Object) -> str:
    """The page of a document that `asyncapi_document` made: actors with what they receive and send, channels, types,
    the document itself. Everything is escaped; descriptions are read as CommonMark. Equal documents give equal pages.
    """
    return _Page(document).html()


class _Page:
    def __init__(self, document: _Object) -> None:
        self._document = document
        self._info: _Object = document["info"]
        self._channels: Mapping[str, _Object] = document["channels"]
        self._operations: Mapping[str, _Object] = document["operations"]
        self._messages: Mapping[str, _Object] = document["components"]["messages"]
        self._schemas: Mapping[str, _Object] = document["components"]["schemas"]

    def html(self) -> str:
        title = self._info["title"]
        head = [
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            tag("title", title),
            tag("style", Html(_style())),
        ]
        body = [self._navigation(), tag("main", *self._header(), *self._sections())]
        page = tag("html", tag("head", *map(Html, head)), tag("body", *body), lang="en")
        return f"<!DOCTYPE html>\n{page}\n"

    def _header(self) -> Iterator[Html]:
        yield tag("h1", self._info["title"], " ", tag("small", self._info["version"]))
        yield prose(self._info.get("description", ""))
        for server in self._document.get("servers", {}).values():
            address = f"{server['protocol']}://{server['host']}{server.get('pathname', '')}"
            yield tag("p", "Server ", tag("code", address), f" {server.get('description', '')}")

    def _sections(self) -> Iterator[Html]:
        for actor in self._info["tags"]:
            operations = [self._operation(name) for name in self._of_actor(actor["name"])]
            about = prose(actor.get("description", ""))
            yield tag("section", tag("h2", actor["name"]), about, *operations, id=f"actor-{actor['name']}")
        yield tag("section", tag("h2", "Channels"), *map(self._channel, self._channels), id="channels")
        yield tag("section", tag("h2", "Types"), *map(self._type, self._schemas), id="types")
        yield _source(self._document)

    def _navigation(self) -> Html:
        actors = [
            _group(f"actor-{actor['name']}", actor["name"], map(self._entry, self._of_actor(actor["name"])))
            for actor in self._info["tags"]
        ]
        channels = [link("channel", name, _address(channel)) for name, channel in self._channels.items()]
        types = [link("type", name) for name in self._schemas]
        others = [_group("channels", "Channels", channels), _group("types", "Types", types)]
        return tag("nav", *actors, *others, _group("document", "Document", []))

    def _entry(self, operation: str) -> Html:
        return link("operation", operation, f"{_kind(self._operations[operation])} {self._address_of(operation)}")

    def _of_actor(self, actor: str) -> list[str]:
        return [name for name, operation in self._operations.items() if {"name": actor} in operation["tags"]]

    def _address_of(self, operation: str) -> str:
        return _address(self._channels[_last(self._operations[operation]["channel"])])

    def _operation(self, name: str) -> Html:
        operation = self._operations[name]
        kind, channel = _kind(operation), _last(operation["channel"])
        rows: list[tuple[str, str]] = [("content", self._contents(operation["messages"]))]
        if "reply" in operation:
            rows.append(("reply", self._contents(operation["reply"]["messages"])))
        rows += [(key.replace("_", " "), _setting(key, value)) for key, value in _settings(operation)]
        return tag(
            "article",
            tag(
                "h3",
                tag("span", kind, class_=f"kind {kind}"),
                " ",
                link("channel", channel, self._address_of(name)),
                " ",
                tag("small", name),
            ),
            tag("p", inline(operation["summary"])) if "summary" in operation else Html(),
            prose(operation.get("description", "")),
            _table(rows),
            id=f"operation-{name}",
        )

    def _contents(self, messages: Iterable[_Object]) -> Html:
        """Content and headers of messages, each in a line."""
        return join(tag("div", *self._message(self._messages[_last(message)])) for message in messages)

    def _message(self, message: _Object) -> Iterator[str]:
        yield type_of(message["payload"])
        yield tag("span", ", headers ", type_of(message["headers"]), class_="quiet")

    def _channel(self, name: str) -> Html:
        channel = self._channels[name]
        rows = [(key, inline(value["description"])) for key, value in channel.get("parameters", {}).items()]
        for action, said in (("receive", "received by"), ("send", "sent by")):
            operations = [link("operation", key) for key in self._on_channel(name, action)]
            rows += [(said, join(operations, ", "))] if operations else []
        rows.append(("messages", self._contents(channel["messages"].values())))
        about = prose(channel.get("description", ""))
        return tag("article", tag("h3", tag("code", _address(channel))), about, _table(rows), id=f"channel-{name}")

    def _on_channel(self, channel: str, action: str) -> Iterator[str]:
        for name, operation in self._operations.items():
            if operation["action"] == action and _last(operation["channel"]) == channel:
                yield name

    def _type(self, name: str) -> Html:
        schema = dict(self._schemas[name])
        about = prose(schema.get("description", ""))
        shown = fields(schema) or tag("p", type_of(schema))
        return tag("article", tag("h3", tag("code", name)), about, shown, id=f"type-{name}")


def _style() -> str:
    return (files("callboard.asyncapi") / "page.css").read_text("utf-8")


def _source(document: _Object) -> Html:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    opened = tag("details", tag("summary", "AsyncAPI ", document["asyncapi"], ", JSON"), tag("pre", text))
    return tag("section", tag("h2", "Document"), opened, id="document")


def _group(anchor: str, name: str, entries: Iterable[Html]) -> Html:
    listed = [tag("li", entry) for entry in entries]
    return join([tag("h2", tag("a", name, href=f"#{anchor}")), tag("ul", *listed) if listed else Html()])


def _table(rows: Iterable[tuple[str, str]]) -> Html:
    listed = [tag("tr", tag("th", key, scope="row"), tag("td", value)) for key, value in rows]
    return tag("table", tag("tbody", *listed))


def _settings(operation: _Object) -> Iterator[tuple[str, Any]]:
    for key, value in operation.get("x-callboard", {}).items():
        if key != "kind":
            yield key, value


def _setting(key: str, value: Any) -> str:
    if key == "retry":
        delays = ", ".join(f"{delay:g}" for delay in value)
        return f"after {delays} s" if delays else "none"
    if key == "failures":
        return ", ".join(f"{error}: {action}" for error, action in value.items())
    return f"{value:g} s" if key in {"timeout", "hard_timeout"} else str(value)


def _kind(operation: _Object) -> str:
    return str(operation.get("x-callboard", operation).get("kind", operation["action"]))


def _address(channel: _Object) -> str:
    return str(channel["address"] or channel["title"])


def _last(reference: _Object) -> str:
    """The name of what is referred to."""
    return str(reference["$ref"]).rpartition("/")[2]
