"""Credentials and certificates that cannot be used are named, and the server is known by its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from callboard.config import Config
from callboard.embedded import EmbeddedServer
from callboard.errors import ConfigError, MissingExtraError, NoServerError
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from tests.jetstream.access import certificate

pytestmark = pytest.mark.usefixtures("nats_binary")

SECRET = "kept-to-myself"
SEED = "SUAMZE6CIPJZNF2ZNNOHF62DWVJDE2R625MTP3FX6R2PIBXUSP5U66P5RA"


def guarded(configuration: str) -> EmbeddedServer:
    """A server with a configuration of its own."""
    return EmbeddedServer(port=0, extra_config=configuration)


async def connect(server: EmbeddedServer, **nats: Any) -> None:
    """Connect as a configuration says, or raise what stood in the way."""
    transport = JetStreamTransport.from_config(Config(nats={"servers": server.url, **nats}))
    try:
        await transport.setup()
    finally:
        await transport.destroy()


async def refused(server: EmbeddedServer, **nats: Any) -> str:
    """What is said of a server that is none for us."""
    with pytest.raises(NoServerError) as raised:
        await connect(server, **nats)
    return str(raised.value)


@pytest.mark.skipif(find_spec("nkeys") is None, reason="needs the package nkeys")
async def test_seed_that_is_none_is_refused_without_showing_it() -> None:
    async with guarded("") as server:
        with pytest.raises(ConfigError, match="'nats.nkey_seed'") as raised:
            await connect(server, nkey_seed=SECRET)

    assert SECRET not in str(raised.value)


@pytest.mark.skipif(find_spec("nkeys") is not None, reason="the package nkeys is there")
async def test_missing_package_for_nkeys_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"callboard\[nkeys\]"):
        await JetStreamTransport.from_config(Config(nats={"nkey_seed": SEED})).setup()


@pytest.mark.skipif(find_spec("nkeys") is None, reason="needs the package nkeys")
@pytest.mark.parametrize("setting", ["nkey_seed_file", "credentials_file"])
async def test_file_that_cannot_be_used_is_named(tmp_path: Path, setting: str) -> None:
    (tmp_path / "empty").touch()

    for name in ("nowhere", "empty"):
        transport = JetStreamTransport.from_config(Config(nats={setting: tmp_path / name}))
        with pytest.raises(ConfigError, match=f"'nats.{setting}'"):
            await transport.setup()


async def test_address_that_is_none_is_refused_without_its_secret() -> None:
    transport = JetStreamTransport.from_config(Config(nats=f"nats://shop:{SECRET}@a:b:c"))

    with pytest.raises(NoServerError, match="nats://a:b:c") as raised:
        await transport.setup()

    assert SECRET not in str(raised.value)


def encrypted(certificate: Path) -> EmbeddedServer:
    return guarded(f'tls {{ cert_file: "{certificate}", key_file: "{certificate.with_suffix(".key")}" }}')


async def test_server_is_known_by_its_certificate(tmp_path: Path) -> None:
    made = certificate(tmp_path, "server")
    async with encrypted(made) as server:
        await connect(server, tls={"ca": made})
        await connect(server, tls={"ca": made, "hostname": "shop.example"})

        assert "ertificate" in await refused(server, tls={"hostname": "shop.example"})
        assert "ertificate" in await refused(server, tls={"ca": made, "hostname": "other.example"})


async def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")

    for name in ("ca.pem", "nowhere.pem"):
        transport = JetStreamTransport.from_config(Config(nats={"tls": {"ca": tmp_path / name}}))
        with pytest.raises(ConfigError, match=rf"'nats.tls': the certificates \(.*{name}\) cannot be used"):
            await transport.setup()


def test_options_show_no_secret() -> None:
    config = Config(nats={"servers": f"nats://{SECRET}@a,nats://u:{SECRET}@b"})
    options = ConnectionOptions.from_config(config)
    token = ConnectionOptions.from_config(Config(nats={"token": SECRET}))

    assert SECRET not in f"{options} {options!r} {options.secret_free} {token} {token!r}"
    assert options.secret_free == "nats://a, nats://b"
