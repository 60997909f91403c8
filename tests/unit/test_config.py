"""Configuration: file, environment, keyword arguments, the later ones stronger (C48)."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import ast
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from callboard.config import (
    Config,
    Environment,
    NatsSettings,
    Source,
    StreamSettings,
    import_name,
    read_settings,
    secret_free,
)
from callboard.errors import ConfigError

SECRET = "kept-to-myself"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("CALLBOARD_", "NATS_")):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yml"
    settings = "{name: from file, grace: 1, workers: 2, nats: 'nats://file', streams: {replicas: 3}}"
    path.write_text(f"callboard: {settings}\nother: {{x: 1}}\n")
    return path


def written(folder: Path, text: str) -> Path:
    """A file with these settings."""
    path = folder / "config.yml"
    path.write_text("callboard:\n" + textwrap.indent(text, "  "))
    return path


def refusal(file: Path | None = None, **overrides: Any) -> str:
    """The one line that refuses a configuration."""
    with pytest.raises(ConfigError) as raised:
        Config(file, **overrides)
    text = str(raised.value)
    assert "\n" not in text
    assert len(text) < 250
    return text


# Where settings come from


def test_nothing_given_is_the_defaults() -> None:
    config = Config()

    assert (config.name, config.workers, config.grace, config.log_level) == ("", 1, 30.0, "info")
    assert config.streams == StreamSettings(max_age=7 * 24 * 3600.0, duplicate_window=300.0, replicas=1)
    assert config.transport == "callboard.jetstream:JetStreamTransport"
    assert config.nats == NatsSettings()
    assert config.group == "callboard"


def test_file_is_read_from_its_own_section(file: Path) -> None:
    """C48."""
    config = Config(str(file))

    assert (config.name, config.grace, config.workers, config.streams.replicas) == ("from file", 1.0, 2, 3)
    assert config.streams.max_age == 7 * 24 * 3600.0
    assert config.group == "from file"


def test_environment_is_stronger_than_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C48."""
    monkeypatch.setenv("CALLBOARD_NAME", "from environment")
    monkeypatch.setenv("CALLBOARD_STREAMS_REPLICAS", "5")
    monkeypatch.setenv("CALLBOARD_SERVICES", "shop.front, shop.back:Desk")
    monkeypatch.setenv("CALLBOARD_QUEUES_OUTBOX_ENABLED", "yes")

    config = Config(file)

    assert (config.name, config.streams.replicas, config.workers) == ("from environment", 5, 2)
    assert config.services == ("shop.front", "shop.back:Desk")
    assert config.queues.outbox.enabled


def test_argument_is_stronger_than_everything(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C48."""
    monkeypatch.setenv("CALLBOARD_NAME", "from environment")
    monkeypatch.setenv("CALLBOARD_STREAMS_REPLICAS", "5")

    config = Config(file, name="from argument", streams={"replicas": 1})

    assert (config.name, config.streams.replicas) == ("from argument", 1)


def test_argument_changes_only_what_it_names_in_a_section(file: Path) -> None:
    assert Config(file, streams={"max_age": 60}).streams == StreamSettings(max_age=60.0, replicas=3)


def test_section_given_as_its_class_counts_as_a_whole(file: Path) -> None:
    assert Config(file, streams=StreamSettings(max_age=60.0)).streams == StreamSettings(max_age=60.0)


def test_what_is_none_says_nothing(file: Path, tmp_path: Path) -> None:
    assert Config(file, name=None, streams=None).name == "from file"
    assert Config(written(tmp_path, "name:\nstreams:\nnats: {user: }\n")) == Config()


def test_empty_file_says_nothing(tmp_path: Path) -> None:
    assert Config(written(tmp_path, "# nothing yet\n")) == Config()


@pytest.mark.parametrize("value", ["nats://a, nats://b", ["nats://a", "nats://b"], {"servers": "nats://a,nats://b"}])
def test_addresses_are_a_text_a_list_or_a_key_of_the_section(value: Any) -> None:
    assert Config(nats=value).nats.servers == ("nats://a", "nats://b")


def test_variables_of_addresses_are_stronger_than_the_file_and_the_longest_name_wins(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NATS_URL", "CALLBOARD_NATS", "CALLBOARD_NATS_SERVERS"):
        monkeypatch.setenv(name, f"nats://{name.lower()}")

        assert Config(file).nats.servers == (f"nats://{name.lower()}",)

    assert Config(file, nats="nats://argument").nats.servers == ("nats://argument",)


def test_relative_paths_start_from_the_file(tmp_path: Path) -> None:
    config = Config(written(tmp_path, "nats: {credentials_file: shop.creds, tls: {ca: /etc/ca.pem}}"))

    assert config.nats.credentials_file == tmp_path / "shop.creds"
    assert config.nats.tls.ca == Path("/etc/ca.pem")


# What is refused


def test_missing_file_is_named(tmp_path: Path) -> None:
    """C48."""
    assert f"{tmp_path}/nowhere.yml' does not exist" in refusal(tmp_path / "nowhere.yml")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("callboard: [", "is no YAML, line 1, column 13"),
        ("a: b: c", "is no YAML, line 1, column 5"),
        ("- 1", "has no section 'callboard'"),
        ("", "has no section 'callboard'"),
        ("workers: 2", "has no section 'callboard'"),
        ("calboard: {workers: 2}", "has no section 'callboard' for the settings; did you mean 'calboard'?"),
        ("callboard: 3", "'callboard' must be a section"),
    ],
)
def test_malformed_file_is_refused_with_the_place(tmp_path: Path, text: str, rule: str) -> None:
    file = tmp_path / "config.yml"
    file.write_text(text)

    assert str(file) in refusal(file)
    assert rule in refusal(file)


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("wrokers: 2", "wrokers", "workers"),
        ("stream: {replicas: 3}", "stream", "streams"),
        ("streams: {replica: 3}", "streams.replica", "streams.replicas"),
        ("replicas: 3", "replicas", "streams.replicas"),
        ("queues: {outbox: {retries: 3}}", "queues.outbox.retries", "queues.outbox.retry"),
    ],
)
def test_unknown_key_is_named_with_its_place_and_the_nearest(tmp_path: Path, text: str, key: str, nearest: str) -> None:
    file = written(tmp_path, text)

    assert refusal(file) == f"{file}: unknown setting {key!r}; did you mean {nearest!r}?"


@pytest.mark.parametrize(
    ("text", "key", "rule"),
    [
        ("workers: many", "workers", "must be a whole number, not 'many'"),
        ("workers: 2.5", "workers", "must be a whole number, not 2.5"),
        ("workers: true", "workers", "must be a whole number, not True"),
        ("workers: 0", "workers", "must be at least 1, not 0"),
        ("grace: .inf", "grace", "must be a number, not inf"),
        ("grace: [1]", "grace", "must be a number, not [1]"),
        ("grace: true", "grace", "must be a number, not True"),
        ("name: 12", "name", "must be text (put it in quotes), not 12"),
        ("name: [a]", "name", "must be text, not ['a']"),
        ("log_format: yaml", "log_format", "must be one of auto, human, json, not 'yaml'"),
        ("log_level: loud", "log_level", "must be one of debug, info, warning, error, not 'loud'"),
        ("streams: {manage: manged}", "streams.manage", "must be one of manage, verify, off, not 'manged'"),
        ("streams: {topics: {a: b.c}}", "streams.topics", "must map the first tokens of topics to names of streams"),
        ("streams: 3", "streams", "must be a section"),
        ("services: {a: b}", "services", "must be a list"),
        ("actors: {Desk: 3}", "actors", "must be a mapping"),
        ("queues: {inbox: {enabled: perhaps}}", "queues.inbox.enabled", "must be true or false, not 'perhaps'"),
        ("telemetry: {ratio: 2}", "telemetry.ratio", "must be at most 1, not 2"),
        ("client: {timeout: 0}", "client.timeout", "must be more than 0, not 0"),
    ],
)
def test_value_that_does_not_fit_is_named_with_its_place(tmp_path: Path, text: str, key: str, rule: str) -> None:
    file = written(tmp_path, text)

    assert refusal(file).startswith(f"{file}: {key!r} {rule}")


@pytest.mark.parametrize(
    "override",
    [{"workers": 0}, {"grace": -1.0}, {"log_level": "loud"}, {"wrokers": 2}, {"streams": {"replica": 2}}],
    ids=lambda override: next(iter(override)),
)
def test_argument_that_does_not_fit_is_refused(override: dict[str, Any]) -> None:
    assert refusal(**override).startswith("argument ")
    assert next(iter(override)) in refusal(**override)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "many"),
        ("WORKERS", "0"),
        ("GRACE", "-1"),
        ("LOG_LEVEL", "loud"),
        ("STREAMS_REPLICAS", "2"),
        ("ACTORS", "Desk"),
    ],
)
def test_variable_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CALLBOARD_{name}", value)

    assert refusal().startswith(f"CALLBOARD_{name} must be ")
    assert refusal().endswith(f", not {value!r}")


@pytest.mark.parametrize(
    ("nats", "rule"),
    [
        ({"password": SECRET}, "'nats.password' needs 'nats.user'"),
        ({"user": "shop", "token": SECRET}, "'nats.user' and 'nats.token' are different ways"),
        ({"nkey_seed": SECRET, "nkey_seed_file": "seed"}, "'nats.nkey_seed' and 'nats.nkey_seed_file' are"),
        ({"servers": f"nats://shop:{SECRET}@a", "token": SECRET}, "'nats.token' and what stands before '@' in"),
        ({"tls": {"cert": "cert.pem"}}, "'nats.tls.cert' and 'nats.tls.key' belong together"),
        ({"context": "shop", "user": "shop"}, "'nats.context' says all about the connection; leave out 'nats.user'"),
    ],
    ids=["password", "two", "seed", "address", "tls", "context"],
)
def test_credentials_that_contradict_each_other_are_refused(nats: dict[str, Any], rule: str) -> None:
    assert rule in refusal(nats=nats)


# Secrets

SECRETS = f"""
nats:
  servers: [nats://shop:{SECRET}@a, "nats://{SECRET}@b"]
queues: {{database: "postgresql+asyncpg://shop:{SECRET}/?#@db/shop?password={SECRET}"}}
telemetry: {{endpoint: "http://shop:{SECRET}@collector"}}
"""


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    config = Config(written(tmp_path, SECRETS))
    user = Config(nats={"user": "shop", "password": SECRET})

    assert user.nats.password == SECRET
    assert SECRET not in f"{user} {user!r} {user.nats}"
    assert SECRET in config.queues.database
    assert SECRET not in repr(config)
    assert "nats://a" in repr(config)
    assert "postgresql+asyncpg://db/shop" in repr(config)
    for section in (config.nats, config.queues, config.telemetry):
        assert SECRET not in f"{section} {section!r}"


@pytest.mark.parametrize(
    "text",
    [
        f"nats: {{password: [{SECRET}]}}",
        f"nats: {{token: {{{SECRET}: 1}}}}",
        f"nats: {{servers: {{{SECRET}: 1}}}}",
        f"queues: {{database: [{SECRET}]}}",
        f"nats: {{password: *{SECRET}}}",
        f"nats: {{password: !{SECRET} x}}",
        f"nats: {{password: {SECRET}",
    ],
)
def test_no_secret_is_in_an_error(tmp_path: Path, text: str) -> None:
    assert SECRET not in refusal(written(tmp_path, text))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://a:4222", "nats://a:4222"),
        ("a:4222", "a:4222"),
        ("nats://user:p/ss:w@rd@a:4222", "nats://a:4222"),
        ("sqlite+aiosqlite:///shop.db", "sqlite+aiosqlite:///shop.db"),
        ("postgresql://u:p@h/db?sslpassword=x", "postgresql://h/db"),
    ],
)
def test_address_is_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert secret_free(url) == shown


# Configurations from configurations


def test_revealed_configuration_makes_the_same_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker gets is all of what its parent has."""
    config = Config(written(tmp_path, f"{SECRETS}\nactors: {{Desk: {{retry: [0, 1], settings: {{city: x}}}}}}"))
    monkeypatch.setenv("CALLBOARD_NAME", "changed meanwhile")

    assert Config(**config.reveal()) == config


def test_changed_configuration_keeps_the_rest(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(file, nats={"user": "shop", "password": SECRET})
    monkeypatch.setenv("CALLBOARD_WORKERS", "7")

    changed = config.over(nats="nats://other", name=None)

    assert (changed.nats.servers, changed.nats.password) == (("nats://other",), SECRET)
    assert (changed.name, changed.workers) == ("from file", 2)
    assert evolve(config, name="other") == config.over(name="other")


def test_changed_configuration_shares_what_is_shared(file: Path) -> None:
    config = Config(file)

    assert config.over(name="other").shared is config.shared
    assert Config(file).shared is not config.shared


# Settings of one's own


@frozen
class Desk:
    city: str
    seats: int = 3


@frozen
class Private:
    _seats: int = 3


def test_settings_of_any_class_come_from_the_same_kinds_of_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_SEATS", "7")

    assert read_settings(Desk, [Source({"city": "x", "seats": 1}), Environment("DESK_")]) == Desk("x", 7)


def test_private_setting_is_named_like_its_argument() -> None:
    assert read_settings(Private, [Source({"seats": "7"})])._seats == 7
    with pytest.raises(ConfigError, match="'seats' must be a whole number"):
        read_settings(Private, [Source({"seats": "many"})])


def test_missing_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="'city'"):
        read_settings(Desk, [])


# Names


@pytest.mark.parametrize("path", ["callboard.config:Config", "callboard.config.Config"])
def test_dotted_path_names_what_it_names(path: str) -> None:
    assert import_name(path, "'transport'") is Config


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("nowhere:Transport", "no module named 'nowhere'"),
        ("nowhere.inside:Transport", "no module named 'nowhere'"),
        ("callboard.config:Cofig", "callboard.config has no 'Cofig'; did you mean 'Config'?"),
        ("Transport", "is no path of the form 'package.module:Name'"),
        ("callboard.config:", "is no path of the form"),
        ("broken:x", "importing it failed: RuntimeError: no licence"),
        ("hungry:x", "importing it failed: No module named 'surely_not_installed'"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, rule: str
) -> None:
    """C48."""
    (tmp_path / "broken.py").write_text("raise RuntimeError('no\\nlicence')")
    (tmp_path / "hungry.py").write_text("import surely_not_installed")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    with pytest.raises(ConfigError) as raised:
        import_name(path, "'transport'")

    assert str(raised.value).startswith(f"'transport': {path!r} ")
    assert rule in str(raised.value)
    assert "\n" not in str(raised.value)


def test_second_configuration_parses_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take longer than everything else that an actor's test does."""
    Config()
    monkeypatch.setattr(ast, "parse", None)
    assert Config(grace=5).grace == 5
