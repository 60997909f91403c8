"""What a service is configured with: `Config`, its sections, and what reads them."""

from callboard.config.config import Config
from callboard.config.construction import Configured, construct
from callboard.config.name import import_module, import_name, import_names
from callboard.config.nats_context import resolved
from callboard.config.reading import Environment, Origin, Source, read_settings
from callboard.config.secret import UrlRepr, secret_free
from callboard.config.section import (
    INBOX,
    ClientSettings,
    DuplicateSettings,
    HealthSettings,
    LogFormat,
    Manage,
    MetricsSettings,
    NatsSettings,
    QueuedSettings,
    QueueSettings,
    ReplySettings,
    StreamSettings,
    SupervisionSettings,
    TelemetrySettings,
    TlsSettings,
)

__all__ = [
    "INBOX",
    "ClientSettings",
    "Config",
    "Configured",
    "DuplicateSettings",
    "Environment",
    "HealthSettings",
    "LogFormat",
    "Manage",
    "MetricsSettings",
    "NatsSettings",
    "Origin",
    "QueueSettings",
    "QueuedSettings",
    "ReplySettings",
    "Source",
    "StreamSettings",
    "SupervisionSettings",
    "TelemetrySettings",
    "TlsSettings",
    "UrlRepr",
    "construct",
    "import_module",
    "import_name",
    "import_names",
    "read_settings",
    "resolved",
    "secret_free",
]
