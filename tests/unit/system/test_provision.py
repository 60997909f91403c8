"""How constructors of actors are filled."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

from callboard import Actor, Supervisor, event
from callboard.actors import declaration_of
from callboard.config import Config
from callboard.errors import ConfigError, DeclarationError
from callboard.system.provision import configured_providers, creator, providers

if TYPE_CHECKING:
    from decimal import Decimal as Unknown


class Database:
    pass


@frozen
class DeskSettings:
    city: str
    seats: int = 3


class Desk(Actor):
    def __init__(self, database: Database, settings: DeskSettings, retries: int = 2) -> None:
        self.database = database
        self.settings = settings
        self.retries = retries

    @event("orders.placed")
    async def log(self) -> None: ...


@event("orders.logged")
async def log() -> None: ...


@asynccontextmanager
async def open_database() -> AsyncGenerator[Database]:
    yield Database()


@asynccontextmanager
async def open_other() -> AsyncGenerator[Database]:
    yield Database()


def make(cls: type, resources: dict[type[Any], Any] | None = None, provided: Any = None) -> Any:
    resources = resources or {}
    return creator(declaration_of(cls), provided if provided is not None else resources)(resources)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_CITY", "Newark")
    monkeypatch.delenv("DESK_SEATS", raising=False)


def test_parameter_gets_the_opened_dependency_of_its_type() -> None:
    database = Database()

    assert make(Desk, {Database: database}).database is database


def test_settings_come_from_the_environment_under_the_actors_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_SEATS", "7")

    assert make(Desk, {Database: Database()}).settings == DeskSettings("Newark", 7)


def test_configured_settings_are_weaker_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    create = creator(declaration_of(Desk), {Database: open_database}, {"city": "Boston", "seats": 9})

    assert create({Database: Database()}).settings == DeskSettings("Newark", 9)


def test_configured_setting_that_is_unknown_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"actors\.Desk\.settings: unknown setting 'seat'; did you mean 'seats'\?"):
        creator(declaration_of(Desk), {Database: open_database}, {"seat": 9})


def test_configured_settings_that_nobody_takes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'actors\.log\.settings': its constructor has no parameter 'settings'"):
        creator(declaration_of(log), {}, {"seats": 9})


def test_dependencies_are_configured_by_name() -> None:
    config = Config(dependencies={f"{__name__}:Database": f"{__name__}:open_database"})

    assert configured_providers(config) == {Database: open_database}


@pytest.mark.parametrize(
    ("kind", "opener"), [("Database", "nowhere"), ("open_database", "open_database"), ("Database", "__name__")]
)
def test_dependency_that_cannot_be_is_refused_by_name(kind: str, opener: str) -> None:
    """C48."""
    with pytest.raises(ConfigError, match=f"'dependencies.{__name__}:{kind}'"):
        configured_providers(Config(dependencies={f"{__name__}:{kind}": f"{__name__}:{opener}"}))


def test_provided_settings_are_stronger_than_the_environment() -> None:
    given = DeskSettings("Boston")

    assert make(Desk, {Database: Database(), DeskSettings: given}).settings is given


def test_default_of_another_type_is_left_alone() -> None:
    assert make(Desk, {Database: Database()}).retries == 2


def test_each_call_makes_a_new_instance() -> None:
    create = creator(declaration_of(Desk), {Database: open_database})

    assert create({Database: Database()}) is not create({Database: Database()})


def test_class_without_a_constructor_needs_nothing() -> None:
    class Plain(Actor):
        @event("orders.placed")
        async def log(self) -> None: ...

    assert isinstance(make(Plain), Plain)


def test_function_is_its_own_instance() -> None:
    assert creator(declaration_of(log), {})({}) is log


def test_missing_dependency_is_refused_before_the_start_with_the_way_out() -> None:
    with pytest.raises(DeclarationError, match=r"parameter 'database' \(Database\) cannot be filled.*provide="):
        creator(declaration_of(Desk), {})


def test_parameter_without_annotation_is_refused() -> None:
    class Plain(Actor):
        def __init__(self, database: Any) -> None:
            self.database = database

        del __init__.__annotations__["database"]

        @event("orders.placed")
        async def log(self) -> None: ...

    with pytest.raises(DeclarationError, match=r"parameter 'database' \(no annotation\) cannot be filled"):
        creator(declaration_of(Plain), {})


def test_annotation_that_is_not_known_at_run_time_is_refused_by_name() -> None:
    class Plain(Actor):
        def __init__(self, database: Unknown) -> None:
            self.database = database

        @event("orders.placed")
        async def log(self) -> None: ...

    with pytest.raises(DeclarationError, match="annotation 'Unknown' is not known"):
        creator(declaration_of(Plain), {})


@pytest.mark.parametrize(("name", "value"), [("DESK_CITY", None), ("DESK_SEATS", "many")])
def test_setting_that_is_missing_or_does_not_fit_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match="settings of Desk") as raised:
        make(Desk, {Database: Database()})

    assert name.partition("_")[2].lower() in str(raised.value).lower()
    assert "\n" not in str(raised.value)


def test_providers_of_the_whole_tree_are_found_and_the_inner_ones_win() -> None:
    inner = Supervisor([Desk], provide={Database: open_other})
    tree = Supervisor([inner], provide={Database: open_database, DeskSettings: open_other})

    assert providers(tree) == {Database: open_other, DeskSettings: open_other}
