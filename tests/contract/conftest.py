"""The same promises on every transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from callboard.brokers.memory import InMemoryBroker, InMemoryTransport
from callboard.brokers.transport import BrokerTransport
from callboard.embedded import EmbeddedServer
from callboard.jetstream import ConnectionOptions, JetStreamTransport

Connect: TypeAlias = Callable[[], BrokerTransport]


@pytest.fixture(params=["memory", "jetstream"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Makes transports on one message system, each as another process would have it."""
    if request.param == "memory":
        broker = InMemoryBroker()
        return lambda: InMemoryTransport(broker)
    server: EmbeddedServer = request.getfixturevalue("nats_server")
    return lambda: JetStreamTransport(ConnectionOptions((server.url,)))
