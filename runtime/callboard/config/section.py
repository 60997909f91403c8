"""The sections of a configuration. All durations are seconds."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from attrs import field, fields, frozen
from attrs.validators import optional
from typed_settings.types import SecretStr

from callboard.config.secret import UrlRepr
from callboard.config.value import (
    at_least,
    at_most,
    context_name,
    inbox_prefix,
    inbox_prefixes,
    more_than,
    one_of,
    stream_names,
    topic_filters,
)
from callboard.errors import ConfigError

__all__ = [
    "INBOX",
    "ClientSettings",
    "DuplicateSettings",
    "HealthSettings",
    "LogFormat",
    "Manage",
    "MetricsSettings",
    "NatsSettings",
    "QueueSettings",
    "QueuedSettings",
    "ReplySettings",
    "StreamSettings",
    "SupervisionSettings",
    "TelemetrySettings",
    "TlsSettings",
]

DAY = 24 * 3600.0


@frozen
class TlsSettings:
    """Encryption of the connection. Relative paths start from the configuration file."""

    ca: Path | None = None
    """Certificates of who may sign the server's; the system's unless said."""
    cert: Path | None = None
    """The client's certificate, for servers that want one."""
    key: Path | None = None
    """The key of `cert`."""
    hostname: str = ""
    """Name in the server's certificate; the address's unless said."""
    handshake_first: bool = False
    """Encrypt before the server has said anything, for servers that want it so."""

    @property
    def wanted(self) -> bool:
        """Whether anything was said: then nothing is sent to a server that does not encrypt."""
        return self != TlsSettings()


INBOX = "_INBOX"
"""What private reply topics begin with, unless said: to every NATS client."""


@frozen
class NatsSettings:
    """Where the servers are and who we are to them: at most one of password, token, seed and credentials, be it in an
    address, or a context and nothing else."""

    servers: tuple[str, ...] = field(default=(), repr=UrlRepr())
    """Addresses of one cluster; `nats://127.0.0.1:4222` unless said."""
    user: str = ""
    password: SecretStr = field(default=SecretStr())
    token: SecretStr = field(default=SecretStr())
    nkey_seed: SecretStr = field(default=SecretStr())
    """The seed of an nkey, which begins with `SU`."""
    nkey_seed_file: Path | None = None
    """A file with the seed."""
    credentials_file: Path | None = None
    """A `.creds` file with JWT and seed."""
    context: str = field(default="", validator=context_name)
    """A context of the command `nats`, which says all of this. Its credentials go to its own servers: whoever names
    others in a stronger place does not use it."""
    inbox_prefix: str = field(default=INBOX, validator=inbox_prefix)
    """What this side's private reply topics begin with."""
    tls: TlsSettings = TlsSettings()

    def check(self) -> None:
        """Raises `ConfigError` when settings contradict each other."""
        if self.context and (others := [f"'nats.{name}'" for name in self.said if name != "context"]):
            raise ConfigError(
                f"'nats.context' says all about the connection; leave out {' and '.join(others)}, or the context"
            )
        if self.password and not self.user:
            raise ConfigError("'nats.password' needs 'nats.user'")
        ways = ("user", "token", "nkey_seed", "nkey_seed_file", "credentials_file")
        used = [f"'nats.{way}'" for way in ways if getattr(self, way)]
        if any("@" in server for server in self.servers):
            used.append("what stands before '@' in 'nats.servers'")
        if len(used) > 1:
            raise ConfigError(f"{' and '.join(used)} are different ways to prove who we are; keep one")
        if bool(self.tls.cert) != bool(self.tls.key):
            raise ConfigError("'nats.tls.cert' and 'nats.tls.key' belong together; give both or none")

    @property
    def said(self) -> list[str]:
        """The settings that differ from the defaults."""
        default = NatsSettings()
        names = [attribute.name for attribute in fields(NatsSettings)]
        return [name for name in names if getattr(self, name) != getattr(default, name)]


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    """For people where standard error is a terminal, else JSON."""
    HUMAN = "human"
    """Short lines, in colours on a terminal."""
    JSON = "json"
    """One object a line."""


class Manage(StrEnum):
    """What Callboard may do to streams and durables on the server."""

    MANAGE = "manage"
    """Create what is missing, change what differs from the code."""
    VERIFY = "verify"
    """Change nothing; refuse to run when something is missing or differs."""
    OFF = "off"
    """Change nothing; only what is missing is an error."""


@frozen
class StreamSettings:
    """What Callboard says about streams that it creates."""

    max_age: float = field(default=7 * DAY, validator=more_than(0))
    """How long messages are kept."""
    duplicate_window: float = field(default=300.0, validator=more_than(0))
    """How long a repeated message is recognised, and stored once."""
    replicas: int = field(default=1, validator=one_of(1, 3, 5))
    """Copies in a cluster."""
    manage: Manage = Manage.MANAGE
    """Whether streams and durables are created and changed."""
    topics: dict[str, str] = field(factory=dict[str, str], validator=stream_names)
    """Streams of topics, by the topics' first token; a topic's stream has that token's name in capitals unless said."""


@frozen
class ReplySettings:
    """Where replies may go, whatever a message asks for. Never to topics of the system (`$...`), to wildcards, or to a
    topic that the handler itself listens on."""

    inboxes: tuple[str, ...] = field(default=(INBOX,), validator=inbox_prefixes)
    """What private reply topics begin with, beside those of `nats.inbox_prefix`; replies there are not stored."""
    topics: tuple[str, ...] = field(default=(">",), validator=topic_filters)
    """Other topics that replies may go to, as filters (`orders.>`); none: inboxes only."""
    hops: int = field(default=32, validator=at_least(1))
    """Messages in a row, each sent by the handler of the one before, after which replies to topics end: so a loop
    does."""


@frozen
class SupervisionSettings:
    """How actors are supervised that have no `Supervisor` of their own."""

    strategy: str = field(default="one_for_one", validator=one_of("one_for_one", "one_for_all", "rest_for_one"))
    """Who restarts when an actor crashed."""
    max_restarts: int = field(default=5, validator=at_least(0))
    """More restarts than this within `period` are not bearable."""
    period: float = field(default=60.0, validator=more_than(0))


@frozen
class QueuedSettings:
    """A queue between the handlers and the stream."""

    enabled: bool = False
    retry: int = field(default=2, validator=at_least(0))
    """Quick retries of the queue itself, before a message has to wait longer."""
    records: int = field(default=1000, validator=at_least(1))
    """Messages taken at once at most."""


@frozen
class DuplicateSettings:
    """A memory of what was handled, which keeps duplicates from being handled."""

    enabled: bool = False
    retention: float = field(default=7 * DAY, validator=more_than(0))
    """How long it is remembered."""


@frozen
class QueueSettings:
    """What stands between the broker API and the streams."""

    database: str = field(default="", repr=UrlRepr())
    """SQLAlchemy URL of the database of the queues and the memory below, such as `sqlite+aiosqlite:///shop.db`."""
    outbox: QueuedSettings = QueuedSettings()
    """Messages wait here until the stream has them."""
    inbox: QueuedSettings = QueuedSettings()
    """Messages wait here until they are handled."""
    duplicates: DuplicateSettings = DuplicateSettings()


@frozen
class TelemetrySettings:
    """Traces and metrics; what `OTEL_*` variables say is stronger than any of this."""

    enabled: bool = True
    """False: neither, even where there is an endpoint."""
    endpoint: str = field(default="", repr=UrlRepr())
    """Base address of an OTLP/HTTP collector, such as `http://127.0.0.1:4318`; empty: nothing is sent."""
    ratio: float = field(default=1.0, validator=[at_least(0), at_most(1)])
    """Share of the traces that begin here which is recorded."""
    links: bool = False
    """True: each attempt begins a trace of its own, and links the one of its message."""


@frozen
class MetricsSettings:
    """Where `callboard run` shows the metrics of all its workers to Prometheus, over HTTP."""

    port: int | None = field(default=None, validator=optional([at_least(0), at_most(65535)]))
    """Nowhere unless said; 0 takes a free one, which the log names."""
    host: str = "127.0.0.1"
    """The address that is listened on; empty: all of this machine's."""


@frozen
class HealthSettings:
    """Where `callboard run` says how it is, over HTTP."""

    port: int | None = field(default=None, validator=optional([at_least(0), at_most(65535)]))
    """Nowhere unless said; 0 takes a free one, which the log names."""
    host: str = ""
    """The address that is listened on; empty: all of this machine's, because probes come from outside."""


@frozen
class ClientSettings:
    """Clients of the broker API."""

    maxsize: int = field(default=5, validator=at_least(1))
    """Clients in a pool."""
    timeout: float = field(default=5.0, validator=more_than(0))
    """How long a request waits for its reply."""
