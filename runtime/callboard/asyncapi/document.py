"""An AsyncAPI 3 document of actors: what they receive, what they answer and what they send."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import packages_distributions, version
from typing import Any

from callboard.actors import ActorDeclaration
from callboard.asyncapi.docstring import doc_of
from callboard.asyncapi.operation import Operations
from callboard.codec import JSON
from callboard.config import secret_free

__all__ = ["ASYNCAPI", "asyncapi_document"]

ASYNCAPI = "3.0.0"
"""The version of the specification that documents are of."""
NO_VERSION = "0.0.0"


def asyncapi_document(
    services: Mapping[str, Sequence[ActorDeclaration]],
    *,
    servers: Iterable[str] = (),
    api_version: str | None = None,
) -> dict[str, Any]:
    """The document of actors by the service that they run in, made of JSON's values. Equal declarations give equal
    documents.

    `servers` are addresses; their secrets are left out. `api_version` is by default the `__version__` of the package
    that the first actor is in, else the version under which that was installed, else `0.0.0`. Raises `DeclarationError`
    for a result or an entry of `publishes` whose type content cannot carry.
    """
    declarations = [declaration for actors in services.values() for declaration in actors]
    operations = Operations()
    for service, actors in services.items():
        for declaration in actors:
            operations.add(service, declaration)
    modules = list(dict.fromkeys(declaration.target.__module__ for declaration in declarations))
    found = _servers(servers)
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": ", ".join(services),
            "version": api_version or _version_of(next(iter(modules), "")),
            **_described(modules),
            "tags": _tags(declarations),
        },
        **({"servers": found} if found else {}),
        "defaultContentType": JSON.content_type,
        "channels": operations.channels.as_object(),
        "operations": operations.as_object(),
        "components": {
            "messages": operations.messages.as_object(),
            "schemas": dict(sorted(operations.messages.schemas.components.items())),
        },
    }


def _described(modules: Iterable[str]) -> dict[str, str]:
    docs = [doc_of(sys.modules[name]) for name in modules if name in sys.modules]
    text = "\n\n".join(filter(None, docs))
    return {"description": text} if text else {}


def _tags(declarations: Iterable[ActorDeclaration]) -> list[dict[str, str]]:
    """One for each actor, with what its class says about it."""
    tags: dict[str, dict[str, str]] = {}
    for declaration in declarations:
        doc = doc_of(declaration.target) if isinstance(declaration.target, type) else ""
        tags.setdefault(declaration.name, {"name": declaration.name, **({"description": doc} if doc else {})})
    return list(tags.values())


def _version_of(module: str) -> str:
    package = module.partition(".")[0]
    said = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(said, str):
        return said
    distributions = packages_distributions().get(package, [])
    return version(distributions[0]) if distributions else NO_VERSION


def _servers(addresses: Iterable[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for number, address in enumerate(dict.fromkeys(map(secret_free, addresses)), 1):
        scheme, _, place = address.rpartition("://")
        host, slash, path = place.partition("/")
        found[f"server{number}"] = {
            "host": host,
            **({"pathname": f"/{path}"} if slash else {}),
            "protocol": scheme if scheme in {"ws", "wss"} else "nats",
            **({"description": "With TLS."} if scheme == "tls" else {}),
        }
    return found
