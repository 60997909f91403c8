"""Every way to say who we are, from every place where it may be said."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any, cast

import pytest
import yaml

import callboard
from callboard import Actor, BrokerRequest, Supervisor, System, query
from callboard.config import Config
from callboard.embedded import EmbeddedServer
from callboard.errors import AccessDeniedError, ConfigError, NoServerError, PermissionDeniedError
from callboard.jetstream import ConnectionOptions, JetStreamTransport
from callboard.jetstream.topology import topology_of
from tests.jetstream.access import WAYS, Way

pytestmark = pytest.mark.usefixtures("nats_binary")

SOON = 5.0
"""Seconds for a refusal on a busy machine; on an idle one it takes 0.2."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    return WAYS[request.param](tmp_path)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the contexts are."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "nats" / "context"
    folder.mkdir(parents=True)
    return folder


def server_of(way: Way) -> EmbeddedServer:
    return EmbeddedServer(port=0, extra_config=way.server)


async def ask(config: Config) -> None:
    """Connect and ask JetStream, or raise what stood in the way."""
    async with topology_of(config) as topology:
        await topology.prepare((), ["orders.placed"])


def variables(settings: Mapping[str, Any], above: str = "CALLBOARD_NATS") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in settings.items():
        key = f"{above}_{name.upper()}"
        found |= variables(cast("Mapping[str, Any]", value), key) if isinstance(value, dict) else {key: str(value)}
    return found


async def test_file_opens_it(way: Way, tmp_path: Path) -> None:
    async with server_of(way) as server:
        file = tmp_path / "config.yml"
        file.write_text(yaml.safe_dump({"callboard": {"nats": {"servers": server.url, **way.settings}}}))
        await ask(Config(file))


async def test_environment_opens_it(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    async with server_of(way) as server:
        for name, value in variables(way.settings).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("NATS_URL", server.url)
        await ask(Config())


@pytest.mark.parametrize("way", ["password", "token", "tls"], indirect=True)
async def test_address_opens_it(way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TLS the system has to trust the certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    async with server_of(way) as server:
        address = server.url.replace("nats://", f"{way.scheme}://{way.user}@" if way.user else f"{way.scheme}://")
        await ask(Config(nats=address))
        monkeypatch.setenv("NATS_URL", address)
        await ask(Config())


async def test_context_opens_it(way: Way, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with server_of(way) as server:
        (home / "shop.json").write_text(json.dumps({"url": server.url, "description": "", **way.context}))
        (tmp_path / "config.yml").write_text("callboard: {nats: {context: shop}}")

        await ask(Config(tmp_path / "config.yml"))
        await ask(Config(nats="context:shop"))
        monkeypatch.setenv("NATS_CONTEXT", "shop")
        await ask(Config())


async def test_wrong_credentials_are_refused_soon_and_not_shown(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "callboard")
    async with server_of(way) as server:
        begun = monotonic()
        with pytest.raises((AccessDeniedError, NoServerError)) as raised:
            await ask(Config(nats={"servers": server.url, **way.wrong}))
        seconds = monotonic() - begun

    said = f"{raised.value} {caplog.text}"
    assert seconds < SOON
    assert [secret for secret in way.secrets if secret in said] == []
    if isinstance(raised.value, NoServerError):
        assert "certificate verify failed" in said, "only a server that we do not trust is none"
        assert "'nats.tls.ca'" in said
    else:
        assert f"nats.{next(iter(way.wrong))}" in said


async def test_server_that_wants_credentials_says_so_to_who_has_none() -> None:
    async with server_of(WAYS["password"](Path())) as server:
        with pytest.raises(AccessDeniedError, match="a connection without credentials; give some"):
            await ask(Config(nats=server.url))


@pytest.mark.parametrize("settings", [{}, {"tls": {"hostname": "shop.example"}}], ids=["address", "settings"])
async def test_credentials_never_go_to_a_server_that_does_not_encrypt(
    nats_server: EmbeddedServer, settings: dict[str, Any]
) -> None:
    """nats-py by itself would send them in the clear, whatever the address says."""
    scheme = "nats" if settings else "tls"
    address = nats_server.url.replace("nats://", f"{scheme}://")
    with pytest.raises(NoServerError, match=r"does not encrypt\); enable TLS on the server"):
        await ask(Config(nats={"servers": address, "user": "shop", "password": "secret", **settings}))


@pytest.mark.parametrize("way", ["tls"], indirect=True)
async def test_server_that_encrypts_where_it_is_wanted_does(way: Way) -> None:
    way = Way(f"{way.server}\nallow_non_tls: true", way.settings, {}, {})
    async with server_of(way) as server:
        await ask(Config(nats={"servers": server.url, **way.settings}))
        await ask(Config(nats=server.url))
        with pytest.raises(NoServerError, match="certificate verify failed"):
            await ask(Config(nats=server.url.replace("nats://", "tls://")))


async def test_handshake_comes_first_where_it_is_wanted() -> None:
    first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not first.done():
            first.set_result(await reader.read(1))
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        address = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(NoServerError):
            await ask(Config(nats={"servers": address, "tls": {"handshake_first": True}}))

    assert await first == b"\x16", "a record of TLS"


async def test_inboxes_begin_as_the_configuration_says() -> None:
    allowed = 'publish: ">", subscribe: { allow: ["inbox.Shop.>"] }'
    server = EmbeddedServer(
        port=0, extra_config=f"authorization {{ users: [{{ user: a, password: b, permissions: {{ {allowed} }} }}] }}"
    )
    access = {"user": "a", "password": "b"}
    async with server:
        await ask(Config(nats={"servers": server.url, **access, "inbox_prefix": "inbox.Shop"}))
        with pytest.raises(PermissionDeniedError, match=r"_INBOX\..*name what it may in 'nats.inbox_prefix'"):
            await JetStreamTransport.from_config(Config(nats={"servers": server.url, **access})).setup()


@pytest.mark.parametrize("prefix", ["_INBOX_shop", "inbox.Shop"])
async def test_answers_go_to_inboxes_of_ones_own_unasked(nats_server: EmbeddedServer, prefix: str) -> None:
    """Services that share a prefix need not list it in `replies.inboxes`; `_INBOX` is answered as well."""
    own = Config(nats={"servers": nats_server.url, "inbox_prefix": prefix}, replies={"topics": []})
    heard: list[str | None] = []

    class Orders(Actor):
        @query("orders.count")
        async def count(self, request: BrokerRequest) -> int:
            heard.append(request.raw.reply_topic)
            return 7

    async with System(Supervisor([Orders]), name="shop", config=own) as system:
        assert await system.board.request("orders.count", timeout=10) == 7
        async with callboard.connect(nats_server.url) as board:
            assert await board.request("orders.count", timeout=10) == 7

    assert [topic.rpartition(".")[0].rpartition(".")[0] for topic in heard if topic] == [prefix, "_INBOX"]


# Contexts

UNSUPPORTED = {
    "user_jwt": "x",
    "user_seed": "x",
    "nsc": "nsc://a/b/c",
    "socks_proxy": "socks5://x",
    "jetstream_domain": "HUB",
    "jetstream_api_prefix": "x",
    "windows_cert_store": "user",
    "never_heard_of": True,
}


@pytest.mark.parametrize("field", UNSUPPORTED)
def test_field_of_a_context_that_is_not_supported_is_refused(home: Path, field: str) -> None:
    (home / "shop.json").write_text(json.dumps({"url": "nats://a", field: UNSUPPORTED[field]}))
    with pytest.raises(ConfigError, match=f"'shop' has a field '{field}', which Callboard does not support; "):
        use_context("shop")


@pytest.mark.parametrize("field", ["password", "token", "creds", "nkey"])
def test_secret_that_stands_elsewhere_is_refused(home: Path, field: str) -> None:
    (home / "shop.json").write_text(json.dumps({"user": "shop", field: "op://vault/kept-secret"}))
    with pytest.raises(ConfigError, match=f"has a field '{field}' that says where to find it") as raised:
        use_context("shop")
    assert "kept-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("kept-secret", "is no JSON"),
        ("[]", "holds no object"),
        ('{"password": 17}', "has a field 'password', which must be text"),
        ('{"user": "shop", "password": "x", "token": "kept-secret"}', "'nats.user' and 'nats.token' are different"),
        ('{"inbox_prefix": "a.*"}', "has a field 'inbox_prefix', which must be a prefix such as _INBOX"),
        ('{"url": "nats://shop:kept-secret@a", "creds": "x"}', "what stands before '@'"),
    ],
)
def test_context_that_cannot_be_used_is_named(home: Path, content: str, rule: str) -> None:
    (home / "shop.json").write_text(content)
    with pytest.raises(ConfigError, match=rule) as raised:
        use_context("shop")
    assert "kept-secret" not in str(raised.value)


def test_unknown_context_names_the_nearest(home: Path) -> None:
    (home / "shop.json").write_text("{}")
    with pytest.raises(ConfigError, match="'nats.context': 'shopp' does not exist in .*; did you mean 'shop'"):
        use_context("shopp")


def use_context(name: str) -> None:
    ConnectionOptions.from_config(Config(nats={"context": name}))


def test_paths_of_a_context_are_read_as_natscli_does(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    (home / "shop.json").write_text('{"creds": "~/shop.creds", "ca": "$HOME/ca.pem", "inbox_prefix": "_INBOX_shop"}')

    access = ConnectionOptions.from_config(Config(nats="context:shop")).access

    assert access.credentials_file == Path("/home/ada/shop.creds")
    assert access.tls.ca == Path("/home/ada/ca.pem")
    assert access.inbox_prefix == "_INBOX_shop"


def test_credentials_of_a_context_go_to_its_servers_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names servers in a stronger place does not use it; a stronger context replaces all of `nats`."""
    (home / "shop.json").write_text('{"url": "nats://prod", "user": "shop", "password": "secret"}')

    def used(config: Config) -> tuple[Any, str]:
        options = ConnectionOptions.from_config(config)
        return options.servers, options.access.user

    monkeypatch.setenv("NATS_CONTEXT", "shop")
    assert used(Config()) == (("nats://prod",), "shop")
    assert used(Config(nats="nats://other")) == (("nats://other",), "")
    assert used(Config().over(nats="nats://other")) == (("nats://other",), "")
    monkeypatch.setenv("NATS_URL", "nats://other")
    assert used(Config()) == (("nats://other",), "")
    assert used(Config(nats="context:shop")) == (("nats://prod",), "shop")
    assert used(Config(nats={"user": "ada"}).over(nats={"context": "shop"})) == (("nats://prod",), "shop")
    assert used(Config(**Config(nats="context:shop").reveal())) == (("nats://prod",), "shop")
