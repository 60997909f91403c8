"""Servers that want to know who comes, one for each way to say so."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

__all__ = ["WAYS", "Way", "certificate"]

nkeys: Any = import_module("nkeys")
"""It has types for half of what it gives."""
PASSWORD, TOKEN = "pa55w0rd-kept", "t0ken-kept"
WRONG = "another-secret"


@frozen
class Way:
    """A server and who it lets in."""

    server: str
    """Its configuration."""
    settings: dict[str, Any]
    """What a client says below `nats`."""
    wrong: dict[str, Any]
    """What another one says, who is not let in."""
    context: dict[str, Any]
    """The same as `settings` in the words of natscli."""
    user: str = ""
    """What stands before `@` in an address, for ways that may stand there."""
    scheme: str = "nats"
    secrets: tuple[str, ...] = ()
    """What nobody may see, of both clients."""


@frozen
class Key:
    """An nkey."""

    seed: str

    @classmethod
    def new(cls, prefix: int) -> Key:
        seed: bytes = nkeys.encode_seed(os.urandom(32), prefix)
        return cls(seed.decode())

    @property
    def public(self) -> str:
        name: bytes = self._pair.public_key
        return name.decode()

    @property
    def _pair(self) -> Any:
        return nkeys.from_seed(bytearray(self.seed.encode()))

    def token(self, subject: Key, **nats: Any) -> str:
        """A JWT of NATS (version 2) about `subject`, signed with this key."""
        claims = {"iat": int(time.time()), "iss": self.public, "sub": subject.public, "nats": {"version": 2, **nats}}
        signed = f"{_encoded({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_encoded(claims)}"
        return f"{signed}.{_base64(self._pair.sign(signed.encode()))}"


def _encoded(value: Any) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def certificate(folder: Path, name: str) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key beside it."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("needs the program openssl")
    made, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout {key} "
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:shop.example"]
    subprocess.run([*command.split(), "-out", made, *names], check=True, capture_output=True)
    return made


def password(_: Path) -> Way:
    return Way(
        f'authorization {{ user: shop, password: "{PASSWORD}" }}',
        {"user": "shop", "password": PASSWORD},
        {"user": "shop", "password": WRONG},
        {"user": "shop", "password": PASSWORD},
        user=f"shop:{PASSWORD}",
        secrets=(PASSWORD, WRONG),
    )


def token(_: Path) -> Way:
    return Way(
        f'authorization {{ token: "{TOKEN}" }}',
        {"token": TOKEN},
        {"token": WRONG},
        {"token": TOKEN},
        user=TOKEN,
        secrets=(TOKEN, WRONG),
    )


def nkey(folder: Path) -> Way:
    right, wrong = Key.new(nkeys.PREFIX_BYTE_USER), Key.new(nkeys.PREFIX_BYTE_USER)
    (folder / "shop.nk").write_text(f"{right.seed}\n")
    return Way(
        f"authorization {{ users: [{{ nkey: {right.public} }}] }}",
        {"nkey_seed": right.seed},
        {"nkey_seed": wrong.seed},
        {"nkey": str(folder / "shop.nk")},
        secrets=(right.seed, wrong.seed),
    )


def nkey_file(folder: Path) -> Way:
    way = nkey(folder)
    (folder / "wrong.nk").write_text(way.wrong["nkey_seed"])
    settings, wrong = {"nkey_seed_file": str(folder / "shop.nk")}, {"nkey_seed_file": str(folder / "wrong.nk")}
    return Way(way.server, settings, wrong, way.context, secrets=way.secrets)


def credentials(folder: Path) -> Way:
    """An operator with an account for the system and one with JetStream."""
    operator = Key.new(nkeys.PREFIX_BYTE_OPERATOR)
    system, account = Key.new(nkeys.PREFIX_BYTE_ACCOUNT), Key.new(nkeys.PREFIX_BYTE_ACCOUNT)
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    storage = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    plain = operator.token(system, type="account", limits={**unlimited, "wildcards": True})
    stored = operator.token(account, type="account", limits={**unlimited, **storage, "wildcards": True})
    users = Key.new(nkeys.PREFIX_BYTE_USER), Key.new(nkeys.PREFIX_BYTE_USER)
    for name, user, signer in (("shop", users[0], account), ("wrong", users[1], Key.new(nkeys.PREFIX_BYTE_ACCOUNT))):
        jwt = signer.token(user, type="user", subs=-1, data=-1, payload=-1)
        (folder / f"{name}.creds").write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )
    return Way(
        f"operator: {operator.token(operator, type='operator', system_account=system.public)}\n"
        f"system_account: {system.public}\n"
        f"resolver: MEMORY\nresolver_preload: {{ {system.public}: {plain}, {account.public}: {stored} }}",
        {"credentials_file": str(folder / "shop.creds")},
        {"credentials_file": str(folder / "wrong.creds")},
        {"creds": str(folder / "shop.creds")},
        secrets=tuple(user.seed for user in users),
    )


def tls(folder: Path) -> Way:
    made = certificate(folder, "server")
    return Way(
        f'tls {{ cert_file: "{made}", key_file: "{made.with_suffix(".key")}" }}',
        {"tls": {"ca": str(made)}},
        {"tls": {"hostname": "other.example"}},
        {"ca": str(made)},
        scheme="tls",
    )


def handshake_first(folder: Path) -> Way:
    way = tls(folder)
    return Way(
        way.server.replace("}", ', handshake_first: "1s" }'),  # then it speaks, also to who looks whether it is ready
        {"tls": {"ca": str(folder / "server.pem"), "handshake_first": True}},
        {"tls": {"handshake_first": True}},
        {**way.context, "tls_first": True},
    )


def mutual_tls(folder: Path) -> Way:
    made, own, other = (certificate(folder, name) for name in ("server", "shop", "other"))
    return Way(
        f'tls {{ cert_file: "{made}", key_file: "{made.with_suffix(".key")}", ca_file: "{own}", verify: true }}',
        {"tls": {"ca": str(made), "cert": str(own), "key": str(own.with_suffix(".key"))}},
        {"tls": {"ca": str(made), "cert": str(other), "key": str(other.with_suffix(".key"))}},
        {"ca": str(made), "cert": str(own), "key": str(own.with_suffix(".key"))},
    )


WAYS: dict[str, Callable[[Path], Way]] = {
    way.__name__: way for way in (password, token, nkey, nkey_file, credentials, tls, handshake_first, mutual_tls)
}
