"""Who Callboard is to a server that asks, and how it knows the server."""

from __future__ import annotations

import logging
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from callboard.config import Config
from callboard.embedded import EmbeddedServer
from callboard.errors import AccessDeniedError, ConfigError, MissingExtraError, NoServerError
from callboard.jetstream import ConnectionOptions, JetStreamTransport

pytestmark = pytest.mark.usefixtures("nats_binary")

SECRET = "kept-to-myself"
SEED = "SUAMZE6CIPJZNF2ZNNOHF62DWVJDE2R625MTP3FX6R2PIBXUSP5U66P5RA"
PUBLIC = "UDKXTYB5XDWC65YKV3CEAG5MUPEW5COUWPPYMNMA2RPVXMT7V7UHRX2Q"


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
    """What is said when a server refuses a connection (its own reason does not always arrive before it hangs up)."""
    with pytest.raises((AccessDeniedError, NoServerError)) as raised:
        await connect(server, **nats)
    return str(raised.value)


async def test_user_and_password_open_a_server_that_wants_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "callboard")
    async with guarded(f'authorization {{ user: shop, password: "{SECRET}" }}') as server:
        await connect(server, user="shop", password=SECRET)

        wrong = await refused(server, user="shop", password=f"{SECRET}!")
        await refused(server)

    assert SECRET not in wrong + caplog.text


async def test_token_opens_a_server_that_wants_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "callboard")
    async with guarded(f'authorization {{ token: "{SECRET}" }}') as server:
        await connect(server, token=SECRET)

        wrong = await refused(server, token=f"{SECRET}!")

    assert SECRET not in wrong + caplog.text


async def test_credentials_in_the_address_still_work(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "callboard")
    async with guarded(f'authorization {{ user: shop, password: "{SECRET}" }}') as server:
        await connect(server, servers=server.url.replace("//", f"//shop:{SECRET}@"))

        wrong = await refused(server, servers=server.url.replace("//", f"//shop:{SECRET}1@"))

    assert SECRET not in wrong + caplog.text


@pytest.mark.skipif(find_spec("nkeys") is None, reason="needs the package nkeys")
@pytest.mark.parametrize("from_file", [False, True], ids=["seed", "file"])
async def test_nkey_opens_a_server_that_knows_it(tmp_path: Path, *, from_file: bool) -> None:
    (tmp_path / "shop.nk").write_text(f"{SEED}\n")
    access: dict[str, Any] = {"nkey_seed_file": tmp_path / "shop.nk"} if from_file else {"nkey_seed": SEED}
    async with guarded(f"authorization {{ users: [{{ nkey: {PUBLIC} }}] }}") as server:
        await connect(server, **access)

        await refused(server)


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


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key beside it."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("needs the program openssl")
    path = tmp_path / "server.pem"
    name = ["-subj", "/CN=shop", "-addext", "subjectAltName=IP:127.0.0.1,DNS:shop.example"]
    made = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        tmp_path / "key.pem",
        "-out",
        path,
    ]
    subprocess.run([openssl, *made, *name], check=True, capture_output=True)
    return path


def encrypted(certificate: Path, more: str = "") -> EmbeddedServer:
    key = certificate.with_name("key.pem")
    return guarded(f'tls {{ cert_file: "{certificate}", key_file: "{key}", {more} }}')


async def test_server_is_known_by_its_certificate(certificate: Path) -> None:
    async with encrypted(certificate) as server:
        await connect(server, tls={"ca": certificate})
        await connect(server, tls={"ca": certificate, "hostname": "shop.example"})

        assert "ertificate" in await refused(server, tls={"hostname": "shop.example"})
        assert "ertificate" in await refused(server, tls={"ca": certificate, "hostname": "other.example"})


async def test_client_shows_its_certificate_to_a_server_that_wants_one(certificate: Path) -> None:
    own = {"cert": certificate, "key": certificate.with_name("key.pem")}
    async with encrypted(certificate, f'ca_file: "{certificate}", verify: true') as server:
        await connect(server, tls={"ca": certificate, **own})


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
