"""A service of actors on the test's server."""

from __future__ import annotations

from typing import Any

from callboard.actors import declaration_of
from callboard.embedded import EmbeddedServer
from callboard.supervision import Supervisor
from callboard.system import System

__all__ = ["durable_of", "service"]


def service(server: EmbeddedServer, *actors: Any, name: str = "test", grace: float = 5.0) -> System:
    """A system with these actors, not started yet."""
    return System(Supervisor(actors), name=name, nats=server.url, grace=grace)


def durable_of(actor: Any, topic: str, name: str = "test") -> str:
    """The durable of an actor's handler for a topic, in the service `name`."""
    mailboxes = [mailbox for _, mailbox in declaration_of(actor).mailboxes(name)]
    return next(mailbox.durable for mailbox in mailboxes if mailbox.template.text == topic)
