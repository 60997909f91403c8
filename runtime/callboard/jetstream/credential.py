"""Who we are to a server, in the words of nats-py."""

from __future__ import annotations

import ssl
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from callboard.config import NatsSettings, TlsSettings
from callboard.errors import ConfigError, MissingExtraError

__all__ = ["credentials_of", "who_is"]

CREDENTIALS = ("BEGIN NATS USER JWT", "BEGIN USER NKEY SEED")
"""What a credentials file contains; in one without them nats-py would look for ever."""


def credentials_of(access: NatsSettings) -> dict[str, Any]:
    """Arguments of nats-py's `connect`.

    Raises `ConfigError` for a seed or a file that cannot be used, and `MissingExtraError` when nkeys are wanted and
    their package is not there. Files are read here to check them, and again by nats-py at each connection.
    """
    given: dict[str, Any] = {
        "user": access.user,
        "password": str(access.password),
        "token": str(access.token),
        "tls": _context(access.tls),
        "tls_hostname": access.tls.hostname,
        "tls_handshake_first": access.tls.handshake_first,
        **_keys(access),
    }
    return {name: value for name, value in given.items() if value}


def who_is(access: NatsSettings) -> str:
    """What a server got to know us by, for people: no secret, and which setting says it."""
    if access.context:
        return f"what the context {access.context!r} says"
    if access.user:
        return f"user {access.user!r} with this password ('nats.user', 'nats.password')"
    ways = ("token", "nkey_seed", "nkey_seed_file", "credentials_file")
    shown = [f"what 'nats.{way}' says" for way in ways if getattr(access, way)]
    if any("@" in server for server in access.servers):
        shown.append("what stands before '@' in the address")
    if access.tls.cert:
        shown.append("the certificate of 'nats.tls.cert'")
    none = "a connection without credentials; give some: 'nats.user', 'nats.credentials_file', 'nats.tls.cert'"
    return " and ".join(shown) or none


def _keys(access: NatsSettings) -> dict[str, str]:
    """What needs the package `nkeys`."""
    seed, seed_file, credentials = str(access.nkey_seed), access.nkey_seed_file, access.credentials_file
    if not (seed or seed_file or credentials):
        return {}
    if find_spec("nkeys") is None:
        raise MissingExtraError("a connection with an nkey or a credentials file", "nkeys")
    if seed:
        _check_seed("nats.nkey_seed", seed)
        return {"nkeys_seed_str": seed}
    if seed_file:
        _check_seed("nats.nkey_seed_file", _read("nats.nkey_seed_file", seed_file))
        return {"nkeys_seed": str(seed_file)}
    text = _read("nats.credentials_file", credentials or Path())
    if not all(mark in text for mark in CREDENTIALS):
        raise ConfigError(f"'nats.credentials_file': {str(credentials)!r} holds no user JWT with a seed")
    return {"user_credentials": str(credentials)}


def _check_seed(setting: str, seed: str) -> None:
    nkeys: Any = import_module("nkeys")
    try:
        nkeys.from_seed(bytearray(seed.strip().encode())).wipe()
    except nkeys.NkeysError:
        raise ConfigError(f"{setting!r} is no seed of a user's nkey; one begins with SU") from None


def _read(setting: str, path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise ConfigError(f"{setting!r}: {str(path)!r} cannot be read: {error.strerror}") from error


def _context(tls: TlsSettings) -> ssl.SSLContext | None:
    if not tls.wanted:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:  # also what OpenSSL raises
        shown = ", ".join(str(path) for path in (tls.ca, tls.cert, tls.key) if path)
        raise ConfigError(f"'nats.tls': the certificates ({shown}) cannot be used: {error}") from error
    return context
