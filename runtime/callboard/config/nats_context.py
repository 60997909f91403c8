"""Contexts of the command `nats`: connections by name, which people have already.

The files are those of natscli (https://github.com/nats-io/natscli): `$XDG_CONFIG_HOME/nats/context/NAME.json`, where
`XDG_CONFIG_HOME` is `~/.config` unless said. The one that is selected there does not count: a context is named, or not
used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from attrs import asdict, evolve, frozen
from typed_settings.types import OptionInfo, OptionList, SecretStr, SettingsDict

from callboard.config.reading import Origin
from callboard.config.section import INBOX, NatsSettings, TlsSettings
from callboard.errors import ConfigError, did_you_mean

__all__ = ["NatsOrigin", "resolved"]

NAMED = "context:"
"""What an address begins with that is a context's name."""
KNOWN = {
    *("url", "user", "password", "token", "creds", "nkey", "cert", "key", "ca", "inbox_prefix", "tls_first"),
    *("name", "description", "color_scheme"),  # for people
}
INSTEAD = {
    "user_jwt": "write the JWT and its seed to a file and name it in 'creds'",
    "user_seed": "write the JWT and its seed to a file and name it in 'creds'",
    "nsc": "run 'nsc generate creds' and name the file in 'creds'",
    "socks_proxy": "leave it out, and let the system or a tunnel carry the connection",
    "jetstream_domain": "leave it out, and connect to a server of that domain",
    "jetstream_api_prefix": "leave it out, and use an account that has JetStream itself",
    "jetstream_event_prefix": "leave it out, and use an account that has JetStream itself",
}
"""What a context may say that Callboard cannot do, with what to do."""
ELSEWHERE = ("op://", "env://", "nsc://", "data:")
"""What begins like this is no secret and no path, but says where natscli finds it."""


@frozen
class NatsOrigin:
    """An origin of a configuration in which a context takes the place of everything weaker about `nats`, and servers
    that of a weaker context. `context:NAME` where addresses may stand names a context too."""

    origin: Origin

    def load(self, kind: type[Any], options: OptionList) -> SettingsDict:
        values = self.origin.load(kind, options)
        said: dict[str, Any] = values.get("nats") or {}
        if isinstance(servers := said.get("servers"), str) and servers.startswith(NAMED):
            said = {**said, "servers": (), "context": servers.removeprefix(NAMED)}
        if said.get("context"):
            values["nats"] = {**asdict(NatsSettings()), **said}
        elif said.get("servers"):
            values["nats"] = {"context": "", **said}
        return values

    def place(self, option: OptionInfo) -> str:
        return self.origin.place(option)

    @property
    def folder(self) -> Path:
        return self.origin.folder


def resolved(access: NatsSettings) -> NatsSettings:
    """The settings that a named context stands for; those without one as they are.

    Raises `ConfigError`, which shows no value, for a context that does not exist or cannot be read, and for one with a
    field that is not supported: nothing that it says is left out silently.
    """
    if not access.context:
        return access
    try:
        return _settings(access.context)
    except ConfigError as error:
        raise ConfigError(f"'nats.context': {access.context!r} {error}") from error.__cause__
    except ValueError as error:  # of the field that has a rule
        raise ConfigError(f"'nats.context': {access.context!r} has a field 'inbox_prefix', which {error}") from None


def _settings(name: str) -> NatsSettings:
    fields = _read(name)
    settings = NatsSettings(
        servers=tuple(part.strip() for part in str(fields.get("url", "")).split(",") if part.strip()),
        user=str(fields.get("user", "")),
        password=SecretStr(fields.get("password", "")),
        token=SecretStr(fields.get("token", "")),
        nkey_seed_file=_path(fields, "nkey"),
        credentials_file=_path(fields, "creds"),
        inbox_prefix=str(fields.get("inbox_prefix", INBOX)),
        tls=TlsSettings(
            ca=_path(fields, "ca"),
            cert=_path(fields, "cert"),
            key=_path(fields, "key"),
            handshake_first=bool(fields.get("tls_first")),
        ),
    )
    try:
        settings.check()
    except ConfigError as error:
        raise ConfigError(f"contradicts itself: {error}") from None
    return evolve(settings, context=name)


def _folder() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "nats" / "context"


def _read(name: str) -> dict[str, Any]:
    """The fields of a context that say anything."""
    file = _folder() / f"{name}.json"
    try:
        content: Any = json.loads(file.read_bytes())
    except FileNotFoundError:
        hint = did_you_mean(name, [other.stem for other in _folder().glob("*.json")])
        raise ConfigError(f"does not exist in {str(_folder())!r}{hint}") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror} ({file})") from error
    except ValueError:
        raise ConfigError(f"is no JSON ({file})") from None
    if not isinstance(content, Mapping):
        raise ConfigError(f"holds no object ({file})")
    fields = {key: value for key, value in cast("Mapping[str, Any]", content).items() if value}
    for key, value in fields.items():
        _check(key, value)
    return fields


def _check(key: str, value: Any) -> None:
    if key not in KNOWN:
        fix = INSTEAD.get(key, "leave it out, or use settings of 'nats' instead of a context")
        raise ConfigError(f"has a field {key!r}, which Callboard does not support; {fix}")
    if not isinstance(value, bool if key == "tls_first" else str):
        raise ConfigError(f"has a field {key!r}, which must be {'true' if key == 'tls_first' else 'text'}")
    if str(value).startswith(ELSEWHERE):
        raise ConfigError(
            f"has a field {key!r} that says where to find it, and Callboard does not look there; name a file, or use "
            "settings of 'nats' instead of a context"
        )


def _path(fields: Mapping[str, Any], key: str) -> Path | None:
    """As natscli reads a path: variables and `~` stand for what they are."""
    said = str(fields.get(key, "")).removeprefix("file://")
    return Path(os.path.expandvars(said)).expanduser().absolute() if said else None
