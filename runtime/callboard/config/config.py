"""Everything that a service can be told from outside."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any, cast

import attrs
import cattrs
from attrs import Attribute, field, frozen

from callboard.config.nats_context import NatsOrigin
from callboard.config.reading import SHORT, Environment, Origin, Source, read_file, read_settings
from callboard.config.section import (
    ClientSettings,
    HealthSettings,
    LogFormat,
    MetricsSettings,
    NatsSettings,
    QueueSettings,
    ReplySettings,
    StreamSettings,
    SupervisionSettings,
    TelemetrySettings,
)
from callboard.config.value import at_least, one_of

__all__ = ["Config"]

PREFIX = "CALLBOARD_"
VARIABLES = {"NATS_CONTEXT": "context", "NATS_URL": "servers", "CALLBOARD_NATS": "servers"}
"""Variables that stand for a setting of `nats`, the later one stronger."""


@frozen(init=False)
class Config:
    """Settings from a YAML file (its section `callboard`), the environment over it, keyword arguments over both.

    `Config("config.yml")`, `Config()` (environment and defaults), `Config("config.yml", nats={"user": "shop"})`: what a
    keyword does not name stays as it was, inside sections too; None says nothing. Variables are named like the keys:
    `CALLBOARD_GRACE`, `CALLBOARD_STREAMS_REPLICAS`; `NATS_URL` stands for the servers' addresses, `NATS_CONTEXT` for
    `nats.context`. Variables have texts with commas for lists, and no mappings.

    Raises `ConfigError` in one line for a file that is missing or malformed, an unknown key and a value that does not
    fit: it names the key, where it stands, and the nearest key that exists. What is named by dotted path is imported
    when it is used. No secret is part of a repr or an error.
    """

    name: str = ""
    """The service's name, also the group that its subscribers share; empty: the target's."""
    workers: int = field(default=1, validator=at_least(1))
    """Worker processes of `callboard run`."""
    grace: float = field(default=30.0, validator=at_least(0))
    """Seconds that running handlers get to finish at a stop."""
    log_level: str = field(default="info", validator=one_of("debug", "info", "warning", "error"))
    log_format: LogFormat = LogFormat.AUTO
    nats: NatsSettings = field(default=NatsSettings(), metadata={SHORT: "servers"})
    """Servers and credentials; a plain text or list is the servers' addresses, or `context:` and a context's name."""
    streams: StreamSettings = field(default=StreamSettings())
    transport: str = "callboard.jetstream:JetStreamTransport"
    """The class that carries messages."""
    services: tuple[str, ...] = ()
    """What runs when no target is given: `module`, or `module:Name` of an actor, function or supervisor."""
    supervision: SupervisionSettings = field(default=SupervisionSettings())
    dependencies: dict[str, str] = field(factory=dict[str, str])
    """What fills constructor parameters: type -> async context-manager function, both as dotted paths. Stronger than
    what a supervisor provides."""
    actors: dict[str, dict[str, Any]] = field(factory=dict[str, dict[str, Any]])
    """By an actor's name: its options, which are stronger than those of its class, and under `settings` the values of
    its settings parameter."""
    middleware: tuple[str, ...] = ()
    """Dotted paths of functions that stand around every handler, the outermost first."""
    queues: QueueSettings = field(default=QueueSettings())
    replies: ReplySettings = field(default=ReplySettings())
    """Where replies may go."""
    telemetry: TelemetrySettings = field(default=TelemetrySettings())
    metrics: MetricsSettings = field(default=MetricsSettings(), metadata={SHORT: "port"})
    """Where `callboard run` shows its metrics; a plain number is the port."""
    health: HealthSettings = field(default=HealthSettings(), metadata={SHORT: "port"})
    """Where `callboard run` says how it is; a plain number is the port."""
    client: ClientSettings = field(default=ClientSettings())

    shared: dict[Any, Any] = field(factory=dict[Any, Any], init=False, eq=False, repr=False)
    """No setting: what everything that is built from this configuration in this process shares, such as the broker of
    in-memory transports."""

    def __init__(self, file: str | Path | None = None, /, **overrides: Any) -> None:
        _fill(
            self,
            *([] if file is None else [read_file(Path(file))]),
            *(
                Source({"nats": {setting: os.environ[name]}}, f"{name} as ")
                for name, setting in VARIABLES.items()
                if os.environ.get(name)
            ),
            Environment(PREFIX),
            Source(overrides, "argument "),
        )

    def over(self, **overrides: Any) -> Config:
        """This configuration with other settings; what is not named stays, inside sections too. None says nothing."""
        if all(value is None for value in overrides.values()):
            return self
        changed = Config.__new__(Config)
        _fill(changed, Source(self.reveal()), Source(overrides, "argument "))
        object.__setattr__(changed, "shared", self.shared)
        return changed

    @property
    def group(self) -> str:
        """The group of subscribers that are given no other."""
        return self.name or "callboard"

    def reveal(self) -> dict[str, Any]:
        """All settings as JSON-like values, secrets included: the keyword arguments of the same configuration
        elsewhere. For a pipe to a process of ours, and nothing else."""
        return attrs.asdict(self, filter=_is_setting, value_serializer=_plain)


def _fill(config: Config, *origins: Origin) -> None:
    # What attrs makes of `init=False`; type checkers do not know it.
    getattr(config, "__attrs_init__")(**_values(map(NatsOrigin, origins)))  # noqa: B009
    config.nats.check()


def _values(origins: Iterable[Origin]) -> dict[str, Any]:
    """The constructor's arguments: what `read_settings` would make a `Config` of."""
    types: dict[str, Any] = {attribute.name: attribute.type for attribute in attrs.fields(attrs.resolve_types(Config))}

    def sections(values: dict[str, Any], converter: cattrs.Converter) -> dict[str, Any]:
        return {name: converter.structure(value, types[name]) for name, value in values.items()}

    return cast("dict[str, Any]", read_settings(Config, origins, sections))


def _is_setting(attribute: Attribute[Any], _: Any) -> bool:
    return attribute.init


def _plain(_: type[Any], __: Attribute[Any], value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, str | Path) else value
