"""`callboard spec`: the document of a service, as a command."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.asyncapi import check_document
from tests.cli.command import CommandLine

ROOT = Path(__file__).parents[2]

BROKEN = """
from callboard import Actor, query

class Plain: ...

class Bad(Actor):
    @query("bad.get")
    async def get(self) -> Plain: ...
"""


async def test_spec_prints_a_document_that_fits_the_specification(callboard: CommandLine) -> None:
    result = await callboard("spec", "svc", "--name", "shop", "--api-version", "7")
    document = json.loads(result.out)

    assert (result.code, result.err) == (0, "")
    check_document(document)
    assert document["info"]["title"] == "shop"
    assert document["info"]["version"] == "7"
    assert "Orders.slow" in document["operations"]
    assert "servers" not in document


async def test_spec_gives_the_same_bytes_in_every_process(callboard: CommandLine) -> None:
    callboard.environment["PYTHONPATH"] = str(ROOT)
    first = await callboard("spec", "actors.flights", PYTHONHASHSEED="1")
    second = await callboard("spec", "actors.flights", PYTHONHASHSEED="2")

    assert first.code == 0
    assert first.out == second.out


async def test_spec_as_yaml_is_the_same_document(callboard: CommandLine) -> None:
    printed, as_yaml = await callboard("spec", "svc"), await callboard("spec", "svc", "--yaml")

    assert yaml.safe_load(as_yaml.out) == json.loads(printed.out)
    assert "&id" not in as_yaml.out


async def test_spec_writes_a_page_and_prints_nothing(callboard: CommandLine) -> None:
    result = await callboard("spec", "svc", "--html", "page.html")
    page = (callboard.folder / "page.html").read_text()

    assert (result.code, result.out, result.err) == (0, "", "")
    assert page.startswith("<!DOCTYPE html>")
    assert 'id="operation-Orders.slow"' in page


async def test_spec_names_servers_without_their_secrets(callboard: CommandLine) -> None:
    (callboard.folder / "config.yml").write_text(
        "callboard:\n  services: [svc]\n  nats: {servers: ['nats://one:4222'], user: me, password: s3cret}\n"
    )
    configured = await callboard("spec", "--config", "config.yml")
    named = await callboard("spec", "svc", "--nats", "nats://me:s3cret@two:4222")
    from_environment = await callboard("spec", "svc", NATS_URL="nats://s3cret@three:4222")

    for result, host in ((configured, "one:4222"), (named, "two:4222"), (from_environment, "three:4222")):
        assert json.loads(result.out)["servers"] == {"server1": {"host": host, "protocol": "nats"}}
        assert "s3cret" not in result.out


async def test_spec_of_a_type_that_cannot_be_carried_says_whose_it_is(callboard: CommandLine) -> None:
    (callboard.folder / "broken.py").write_text(BROKEN)
    result = await callboard("spec", "broken")

    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "callboard: Bad.get (query 'bad.get'): the result: Plain: Plain is no type that content can carry; "
        "use an attrs class, a dataclass, a collection or a plain value\n"
    )


async def test_spec_refuses_what_it_cannot_do(callboard: CommandLine) -> None:
    nothing = await callboard("spec")
    both = await callboard("spec", "svc", "--yaml", "--html", "page.html")
    nowhere = await callboard("spec", "svc", "--html", "missing/page.html")
    unknown = await callboard("spec", "svk")

    assert [result.code for result in (nothing, both, nowhere, unknown)] == [2, 2, 2, 2]
    assert "give a TARGET" in nothing.err
    assert "give one of them" in both.err
    assert "missing/page.html cannot be written: No such file or directory" in nowhere.err
    assert "svk" in unknown.err


async def test_the_check_of_documents_finds_what_is_wrong(callboard: CommandLine) -> None:
    """A check that accepts everything would prove nothing."""
    document = json.loads((await callboard("spec", "svc")).out)
    document["operations"]["Orders.slow"]["action"] = "publish"

    try:
        check_document(document)
    except AssertionError as error:
        assert "Orders.slow" in str(error)  # noqa: PT017 - it is an assertion that has to fail
    else:
        raise AssertionError("an action that AsyncAPI does not know was accepted")
