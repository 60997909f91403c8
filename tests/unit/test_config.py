"""Settings: file, environment, keyword arguments, the later ones stronger (C48)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callboard.config import Settings, StreamSettings, load_settings
from callboard.errors import ConfigError


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NATS", "NAME", "WORKERS", "GRACE", "LOG_LEVEL", "STREAMS_REPLICAS"):
        monkeypatch.delenv(f"CALLBOARD_{name}", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "service.yaml"
    path.write_text("callboard: {name: from file, grace: 1, workers: 2, streams: {replicas: 3}}\nother: {x: 1}\n")
    return path


def test_nothing_given_is_the_defaults() -> None:
    assert load_settings() == Settings(
        nats="",
        name="",
        workers=1,
        grace=30.0,
        log_level="info",
        streams=StreamSettings(max_age=7 * 24 * 3600.0, duplicate_window=300.0, replicas=1),
    )


def test_file_is_read_from_its_own_section(file: Path) -> None:
    settings = load_settings(file)

    assert (settings.name, settings.grace, settings.workers, settings.streams.replicas) == ("from file", 1.0, 2, 3)
    assert settings.streams.max_age == 7 * 24 * 3600.0


def test_environment_is_stronger_than_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_NAME", "from environment")
    monkeypatch.setenv("CALLBOARD_STREAMS_REPLICAS", "5")

    settings = load_settings(file)

    assert (settings.name, settings.streams.replicas, settings.workers) == ("from environment", 5, 2)


def test_argument_is_stronger_than_everything(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_NAME", "from environment")

    assert load_settings(file, name="from argument").name == "from argument"


def test_argument_that_is_none_says_nothing(file: Path) -> None:
    assert load_settings(file, name=None).name == "from file"


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml' does not exist"):
        load_settings(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("text", ["callboard: [", "callboard: 3", "a: b: c"])
def test_malformed_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError):
        load_settings(path)


def test_unknown_key_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    path.write_text("callboard: {streams: {replica: 3}}\n")

    with pytest.raises(ConfigError, match=r"replica.*did you mean 'replicas'\?"):
        load_settings(path)


@pytest.mark.parametrize(
    "override",
    [{"workers": 0}, {"grace": -1.0}, {"log_level": "loud"}, {"wrokers": 2}],
    ids=lambda override: next(iter(override)),
)
def test_argument_that_does_not_fit_is_refused(override: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(override))):
        load_settings(**override)


@pytest.mark.parametrize(
    ("name", "value"),
    [("WORKERS", "many"), ("WORKERS", "0"), ("GRACE", "-1"), ("LOG_LEVEL", "loud"), ("STREAMS_REPLICAS", "2")],
)
def test_environment_that_does_not_fit_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"CALLBOARD_{name}", value)

    with pytest.raises(ConfigError) as raised:
        load_settings()

    assert "\n" not in str(raised.value)
    assert f"'{name.removeprefix('STREAMS_').lower()}'" in str(raised.value)
    assert value in str(raised.value)
    assert len(str(raised.value)) < 200
