"""What a configuration describes of message systems."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from callboard.brokers.transport import BrokerTransport
from callboard.config import Config, import_name
from callboard.errors import ConfigError
from callboard.instrumentation import NO_INSTRUMENTATION, Instrumentation

__all__ = ["address_of", "instrumentation_of", "transport_of"]

DEFAULT_PORT = 4222
INSTRUMENTATION = "callboard.telemetry:OpenTelemetryInstrumentation"


def transport_of(config: Config) -> BrokerTransport:
    """The configured transport, not set up yet. Raises `ConfigError` when its name is none of a transport."""
    cls: Any = import_name(config.transport, "'transport'")
    if not (isinstance(cls, type) and issubclass(cls, BrokerTransport)):
        raise ConfigError(f"'transport': {config.transport!r} is no subclass of BrokerTransport")
    return cls.from_config(config)


def address_of(transport: BrokerTransport) -> tuple[str, int] | None:
    """Host and port of a transport's first server, for telemetry; None when it has none."""
    parts = urlsplit(transport.servers.split(", ", maxsplit=1)[0])
    return (parts.hostname, parts.port or DEFAULT_PORT) if parts.hostname else None


def instrumentation_of(config: Config, transport: BrokerTransport) -> Instrumentation:
    """Spans and numbers of what goes through a transport, unless the configuration turns telemetry off."""
    if not config.telemetry.enabled:
        return NO_INSTRUMENTATION
    instrumentation = import_name(INSTRUMENTATION, "'telemetry'")
    made = cast("Instrumentation", instrumentation(server=address_of(transport), links=config.telemetry.links))
    transport.statistics = made.statistics
    return made
