"""What a configuration changes about declared actors."""

from __future__ import annotations

from typing import Any

import pytest

from callboard import Actor, command, event
from callboard.actors import ActorDeclaration, declaration_of
from callboard.config import Config
from callboard.errors import ConfigError
from callboard.routing.failure import FailurePolicy
from callboard.routing.option import FailureAction, HandlerOptions
from callboard.routing.pipeline import Handle
from callboard.routing.request import BrokerRequest, BrokerResponse
from callboard.system.override import check_actors, reconfigured


class Desk(Actor):
    concurrency = 2
    retry = (0, 1)

    @command("orders.place", concurrency=1)
    async def place(self) -> None: ...

    @event("orders.placed")
    async def note(self) -> None: ...


@event("orders.logged", concurrency=2, timeout=3.0)
async def log() -> None: ...


class LostError(Exception):
    pass


async def outer(request: BrokerRequest, call_next: Handle) -> BrokerResponse:
    return await call_next(request)


def configured(target: Any, **options: Any) -> ActorDeclaration:
    declaration = declaration_of(target)
    return reconfigured(declaration, Config(actors={declaration.name: options}))


def test_nothing_configured_changes_nothing() -> None:
    declaration = reconfigured(declaration_of(Desk), Config(actors={"Other": {"concurrency": 9}}))

    assert declaration.concurrency == 2
    assert [action.options for action in declaration.actions] == [a.options for a in declaration_of(Desk).actions]


def test_configured_options_are_stronger_than_the_class_and_weaker_than_the_handler() -> None:
    declaration = configured(Desk, concurrency=9, timeout=4, settings={"city": "x"})
    place, note = (action.options for action in declaration.actions)

    assert declaration.concurrency == 9
    assert (place.concurrency, note.concurrency) == (1, 9)
    assert (place.timeout, place.retry) == (4.0, (0.0, 1.0))
    assert declaration_of(Desk).concurrency == 2


def test_configured_options_of_a_function_are_the_strongest() -> None:
    declaration = configured(log, concurrency=7)

    assert declaration.concurrency == 7
    assert (declaration.actions[0].options.concurrency, declaration.actions[0].options.timeout) == (7, 3.0)


def test_failure_rules_name_exceptions_by_dotted_path() -> None:
    declaration = configured(Desk, failures={"TimeoutError": "reject", f"{__name__}:LostError": "discard"})

    rules = declaration.actions[0].options.failures
    assert rules == {TimeoutError: FailureAction.REJECT, LostError: FailureAction.DISCARD}
    assert declaration.actions[0].policy == FailurePolicy.of(HandlerOptions(retry=(0.0, 1.0), failures=rules))


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"concurency": 3}, "'actors.Desk': unknown option 'concurency'; did you mean 'concurrency'?"),
        ({"concurrency": 0}, "'actors.Desk': concurrency: must be a whole number of at least 1, not 0"),
        ({"retry": 5}, "'actors.Desk': retry: must be a sequence"),
        ({"order": "strict", "concurrency": 3}, "'actors.Desk' (event 'orders.placed'): order='strict'"),
        ({"failures": {"nowhere:Error": "retry"}}, "'actors.Desk': failures: 'nowhere:Error' cannot be imported"),
        ({"failures": {"TimeoutError": "rerty"}}, "did you mean 'retry'?"),
        ({"failures": 3}, "must map exception types to actions"),
    ],
    ids=["unknown", "value", "type", "together", "import", "action", "mapping"],
)
def test_option_that_cannot_be_is_refused_like_at_the_class(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configured(Desk, **options)

    assert rule in str(raised.value)
    assert "\n" not in str(raised.value)


def test_middleware_stands_around_every_handler() -> None:
    declaration = reconfigured(declaration_of(Desk), Config(middleware=[f"{__name__}:outer"]))

    assert [action.pipeline.middleware for action in declaration.actions] == [(outer,), (outer,)]
    assert not declaration.actions[0].bare


@pytest.mark.parametrize("name", ["nowhere", "LostError.args", "__doc__"])
def test_middleware_that_is_none_is_refused_by_name(name: str) -> None:
    """C48."""
    with pytest.raises(ConfigError, match="middleware"):
        reconfigured(declaration_of(Desk), Config(middleware=[f"{__name__}:{name}"]))


def test_options_of_an_actor_that_does_not_run_are_refused_with_the_nearest() -> None:
    config = Config(actors={"Dsek": {"concurrency": 3}})

    with pytest.raises(ConfigError, match=r"'actors\.Dsek': no actor of this name runs; did you mean 'Desk'\?"):
        check_actors(config, ["Desk", "log"])
